# syntax=docker/dockerfile:1
# check=skip=JSONArgsRecommended
ARG BASE=alpine:3.19
FROM $BASE AS Main
MAINTAINER Jane Doe <jane@example.org>
ARG version=1.0 flavour
ENV A=1 B="two words" C=three\ words D='$A'
ENV OLD style value
LABEL org.example.title="a title" \
      "org.example.key with blanks"=x
SHELL ["/bin/ash", "-eo", "pipefail", "-c"]
RUN echo "$A" | tee /a
RUN ["/bin/echo", "exec", "form"]
RUN --network=none --security=sandbox true
ADD --chown=1:2 --chmod=u=rwX,go=rX src.tar.gz /opt/
COPY --chown=www-data:www-data ["a file", "b", "/srv/"]
EXPOSE 80 443/tcp 5000-5002/udp $PORT
VOLUME /data /logs
VOLUME ["/with blank"]
USER app:app
WORKDIR /srv/${A}/x
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=30s --timeout=3s --start-period=1m --start-interval=5s --retries=3 CMD curl -f http://localhost/ || exit 1
HEALTHCHECK NONE
ONBUILD RUN make
ENTRYPOINT ["/entry"]
CMD echo "shell form" $A
