# SPDX-License-Identifier: Apache-2.0
# What may be pulled: rules, cosign's signatures, pins; against Debian's docker-registry on loopback.
. "$(dirname "$0")/lib.sh"
unset SHALE_PULL
HOME=$T/home
DOCKER_CONFIG=$T/home/.docker
SHALE_CONF=$T/shale.conf
export HOME DOCKER_CONFIG SHALE_CONF
unset REGISTRY_AUTH_FILE XDG_RUNTIME_DIR http_proxy https_proxy HTTPS_PROXY ALL_PROXY all_proxy
mkdir -p "$T/home" "$T/c"
: >"$SHALE_CONF"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
reg=127.0.0.1:$port
printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n' "$T/reg" "$reg" >"$T/reg.yml"
docker-registry serve "$T/reg.yml" >"$T/reg.log" 2>&1 &
pid=$!
undo='kill $pid'
try "the registry answers" python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))"
base
cd "$T/c"
image() { # image TAG TEXT: pushed; $digest
	printf 'FROM busybox\nRUN echo %s >/f\n' "$2" | shale build -q --network none -t "$reg/me/img:$1" -f - . >/dev/null
	digest=$(shale push "$reg/me/img:$1" | sed -n 's/.*digest: \(sha256:[0-9a-f]*\) .*/\1/p')
}
for k in one two; do openssl ecparam -name prime256v1 -genkey -noout -out "$T/$k.key" && openssl ec -in "$T/$k.key" -pubout -out "$T/$k.pub" 2>/dev/null; done
openssl genrsa -out "$T/rsa.key" 2048 2>/dev/null && openssl rsa -in "$T/rsa.key" -pubout -out "$T/rsa.pub" 2>/dev/null
openssl genpkey -algorithm ed25519 -out "$T/ed.key" && openssl pkey -in "$T/ed.key" -pubout -out "$T/ed.pub"
openssl genrsa -out "$T/small.key" 1024 2>/dev/null && openssl rsa -in "$T/small.key" -pubout -out "$T/small.pub" 2>/dev/null
openssl ecparam -name secp384r1 -genkey -noout | openssl ec -pubout -out "$T/p384.pub" 2>/dev/null

sign() { python3 -B "$top/tests/integration/cosign.py" "$reg" me/img "$@"; }
policy() { printf '[trust]\n%b\n' "$1" >"$SHALE_CONF"; }
n_store=0
# Each pull into a store of its own
fresh() { n_store=$((n_store + 1)); SHALE_ROOT=$T/s$n_store; }
refused() { # refused WHY TEXT [TAG]
	fresh
	code 1 "$1: refused" shale pull "$reg/me/img:${3:-v1}"
	has "$1: told" "$2"
	is "$1: nothing is there" "" "$(find "$SHALE_ROOT/blobs" -type f)"
}
taken() {
	fresh
	ok "$1: pulled" shale pull "$reg/me/img:${2:-v1}"
}

image v1 one
v1=$digest
taken "no policy"
policy 'default = reject'
refused "default = reject" "nothing is taken from $reg/me/img"
policy "default = reject\naccept = $reg/me"
taken "a prefix that is accepted"
policy "default = reject\naccept = $reg/m"
refused "a prefix ends at a slash" "nothing is taken"
policy "accept = $reg\nreject = $reg/me/img"
refused "the longest prefix" "nothing is taken"
policy "accept = me/img"
refused "a prefix without its registry" "does not begin with a registry"
policy "default = maybe"
refused "a default that is none" "maybe"
policy "signed-by = $reg/me"
refused "a rule without a key" "PREFIX=/KEYFILE"

policy "signed-by = $reg/me=$T/one.pub"
refused "unsigned" "it is not signed"
refused "unsigned, and what counts" "neither a Sigstore bundle nor a tag"
for k in one:one rsa:rsa ed:ed; do
	policy "signed-by = $reg/me=$T/${k#*:}.pub"
	sign "$v1" "$T/${k%:*}.key"
	taken "signed ($k)"
done
policy "signed-by = $reg/me=$T/one.pub"
refused "by another key" "it is by another key"
policy "signed-by = $reg/me=$T/one.pub $reg/me=$T/ed.pub"
taken "one of two keys"
policy "signed-by = $reg/me=$T/one.pub\nsigned-by = $reg/me=$T/ed.pub"
taken "in two lines"
policy "accept = $reg/me\nsigned-by = $reg/me=$T/one.pub"
refused "among equals the strictest" "it is by another key"
for k in small p384 nosuch; do
	policy "signed-by = $reg/me=$T/$k.pub"
	refused "a key that is none ($k)" "$T/$k.pub"
done
policy "signed-by = $reg/me=$T/one.key"
refused "the private half as key" "no public key"

policy "signed-by = $reg/me=$T/one.pub"
sign "$v1" "$T/one.key" others=3
taken "one good signature after others"
sign "$v1" "$T/one.key" others=40
refused "more signatures than are looked at" "more than 32 signatures"
wrong() { # wrong WHAT TEXT OPTION
	# shellcheck disable=SC2086
	sign "$v1" "$T/one.key" $3
	refused "$1" "$2"
}
wrong "for another digest" "it is for digest sha256:000" claim=sha256:0000000000000000000000000000000000000000000000000000000000000000
wrong "for another repository" "it is for $reg/me/other" "name=$reg/me/other"
wrong "for a registry of another port" "it is for 127.0.0.1:1/me/img" name=127.0.0.1:1/me/img
wrong "for another tag" "it is for $reg/me/img:v2" "name=$reg/me/img:v2"
wrong "of another type" "another type" type=atomic
wrong "damaged" "by another key" flip=1
wrong "no base64" "not base64" 'base64=%%%'
wrong "no signature at all" "not base64" bare=1
wrong "by a certificate" "by a certificate (keyless)" "base64=AAAA cert=1"
wrong "of another media type" "has none in it" media=text/plain
wrong "no JSON" "signature" raw=hello
wrong "a key twice in the JSON" "signature" 'raw={"critical":1,"critical":2}'
wrong "too large" "its text has" pad=70000
sign "$v1" "$T/one.key" "name=$reg/me/img:v1"
taken "a name with our tag"

# The tag moves to what nobody signed.
sign "$v1" "$T/one.key"
taken "v1"
here=$SHALE_ROOT
SHALE_ROOT=$T/store
image v1 moved
moved=$digest
refused "the tag moved after signing" "it is not signed"
SHALE_ROOT=$here
code 1 "and where v1 was pulled before" shale pull "$reg/me/img:v1"
is "its image stays" one "$(shale run --rm --pull never --network none "$reg/me/img:v1" cat /f)"
sign "$v1" "$T/one.key" "tag=$(echo "$moved" | tr : -).sig"
refused "the old signature under the new name" "it is for digest $v1"
fresh
ok "the signed digest" shale pull "$reg/me/img@$v1"
policy ""
fresh
ok "pulled without a policy" shale pull "$reg/me/img:v1"
policy "signed-by = $reg/me=$T/one.pub"
code 1 "and once more with it" shale pull "$reg/me/img:v1"
code 1 "by digest as well" shale pull "$reg/me/img@$moved"
fresh
printf 'FROM %s/me/img:v1\n' "$reg" >Dockerfile
code 1 "FROM" shale build --network none .
has "is told why" "it is for digest"
code 125 "run" shale run --rm --network none "$reg/me/img:v1" true
is "nothing is there" "" "$(shale images -q)"

# Pins
policy "pin = $reg/me/img:v1=$v1"
refused "a pinned tag that moved" "it is pinned to $v1, but there it is $moved"
policy "pin = $reg/me/img:v1=$moved"
taken "a pinned tag"
ok "FROM it" shale build --network none -t x .
policy "pin = $reg/me/img:v1=$v1"
code 1 "FROM an image that is here and is not the pinned one" shale build --network none .
has "is told" "is pinned to $v1"
policy "pin = busybox=$(SHALE_ROOT=$T/store shale images -q --no-trunc busybox)"
SHALE_ROOT=$T/store
printf 'FROM busybox\n' >Dockerfile
ok "a pin on an image ID" shale build --network none .
policy "pin = busybox=$v1"
code 1 "on another" shale build --network none .
policy "pin = busybox"
code 1 "a pin without digest" shale build --network none .
has "is refused" "no digest"
# Sigstore bundles; what else may be in them is in bundles.t
policy ""
SHALE_ROOT=$T/store
image v1 bundled
b1=$digest
for k in one:one rsa:rsa ed:ed; do
	policy "signed-by = $reg/me=$T/${k#*:}.pub"
	sign "$b1" "$T/${k%:*}.key" form=bundle fresh=1
	taken "a bundle ($k)"
done
policy "signed-by = $reg/me=$T/one.pub"
refused "a bundle by another key" "bundle: it is by another key"
sign "$b1" "$T/one.key" form=bundle
taken "the good one of two bundles"
sign "$b1" "$T/one.key" form=bundle fresh=1 "claim=${v1#sha256:}"
refused "a bundle of another image" "it is for digest ${v1#sha256:}"
policy ""
SHALE_ROOT=$T/store
no_leaks
done_testing
