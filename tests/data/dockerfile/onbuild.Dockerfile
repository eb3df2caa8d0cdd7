FROM alpine AS tools
RUN build-tools
FROM alpine AS unused
FROM alpine AS parent
ONBUILD COPY --from=tools /bin/t /bin/t
ONBUILD RUN <<EOF
t --here
EOF
ONBUILD ENV a=b
FROM parent
RUN t
