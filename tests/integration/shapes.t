# SPDX-License-Identifier: Apache-2.0
# Five Dockerfiles in the shapes that people write, on the busybox base.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/c" && cd "$T/c"
echo '<h1>site</h1>' >index.html
echo 'echo tool "$@"' >tool.sh
echo 'x=1' >conf

cat >D1 <<'EOF'
# syntax=docker/dockerfile:1
# A static site: assets made in one stage, served from another.
ARG VERSION=1.2
FROM busybox AS assets
ARG VERSION
WORKDIR /site
COPY index.html ./
RUN sed -i "s/site/site $VERSION/" index.html && gzip -k index.html

FROM busybox:latest
LABEL org.opencontainers.image.title="site" \
      org.opencontainers.image.version="1"
RUN echo web:x:100:101::/srv:/bin/false >>/etc/passwd && echo web:x:101: >>/etc/group
COPY --from=assets --chown=web:web /site /srv
USER web
EXPOSE 8080/tcp
HEALTHCHECK --interval=30s --timeout=3s --retries=2 CMD wget -q -O /dev/null http://127.0.0.1:8080/ || exit 1
ENTRYPOINT ["httpd", "-f"]
CMD ["-p", "8080", "-h", "/srv"]
EOF
cat >D2 <<'EOF'
FROM busybox
# heredocs
RUN <<-SETUP
	set -e
	mkdir -p /opt/app
	echo "made in a heredoc" >/opt/app/readme
SETUP
COPY <<EOF2 /opt/app/config.ini
[main]
home=$HOME_DIR
EOF2
COPY --chmod=755 <<'RUN' /usr/bin/start
#!/bin/sh
echo "args: $*"
RUN
CMD ["start", "a", "b"]
EOF
cat >D3 <<'EOF'
FROM busybox as base
ONBUILD COPY conf /etc/app.conf
ONBUILD RUN . /etc/app.conf && echo "x is $x" >/etc/result
EOF
cat >D4 <<'EOF'
FROM onbase
CMD cat /etc/result
EOF
cat >D5 <<'EOF'
ARG TAG=latest
FROM busybox:${TAG:-none} AS b
SHELL ["/bin/sh", "-ec"]
ENV A=1 B="two words" C='single $A'
ENV D $A and legacy
ARG E=${A}x
RUN test "$A" = 1; test "$B" = "two words"; test "$C" = 'single $A'; test "$D" = "1 and legacy"; test "$E" = 1x
RUN ["sh", "-c", "echo exec form >/form"]
COPY tool.sh /usr/local/bin/tool
RUN chmod +x /usr/local/bin/tool
WORKDIR ${E}
WORKDIR sub
VOLUME ["/data"]
STOPSIGNAL SIGQUIT
ENTRYPOINT ["sh", "/usr/local/bin/tool"]
CMD ["default"]
EOF
ok "static site" shale build --network none --build-arg VERSION=9 -f D1 -t d1 .
is "its config" "web [httpd -f] [-p 8080 -h /srv] 2" \
	"$(shale inspect --format '{{.Config.User}} {{.Config.Entrypoint}} {{.Config.Cmd}} {{.Config.Healthcheck.Retries}}' d1)"
is "its files" "<h1>site 9</h1>" "$(shale run --rm --network none --entrypoint cat d1 /srv/index.html)"
ok "heredocs" shale build --network none -f D2 -t d2 .
is "a heredoc script" "args: a b" "$(shale run --rm --network none d2)"
ok "ONBUILD base" shale build --network none -f D3 -t onbase .
ok "ONBUILD use" shale build --network none -f D4 -t d4 .
is "its triggers ran" "x is 1" "$(shale run --rm --network none d4)"
ok "variables, forms, SHELL" shale build --network none -f D5 -t d5 .
is "entrypoint and cmd" "tool default" "$(shale run --rm --network none d5)"
is "arguments replace cmd" "tool other" "$(shale run --rm --network none d5 other)"
is "relative WORKDIRs" "/1x/sub SIGQUIT map[/data:map[]]" \
	"$(shale inspect --format '{{.Config.WorkingDir}} {{.Config.StopSignal}} {{.Config.Volumes}}' d5)"
no_leaks
done_testing
