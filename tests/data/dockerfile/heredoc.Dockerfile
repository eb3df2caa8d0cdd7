FROM alpine
RUN <<EOF
set -e
echo "one"   # not a comment of the Dockerfile
EOF
RUN python3 <<'PY' > /out
print("$HOME \\")
PY
COPY --chmod=644 <<a.conf <<-"b c.conf" plain.txt /etc/app/
key = $VALUE
a.conf
		indented ${KEPT}
	b c.conf
RUN cat <<-ONE - <<TWO
	first
	ONE
second \
TWO
RUN echo $((1 << 3)) '<<NOT'
