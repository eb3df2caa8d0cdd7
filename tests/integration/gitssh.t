# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Repositories by ssh, as context and by ADD, from an sshd on port 22 of a network namespace that has nothing else: keys come by --ssh
# alone, host keys are checked, nothing of the caller's environment gets there, no secret is anywhere afterwards.
if [ -z "${GITSSH_NS:-}" ]; then
	mkdir -p /run/sshd
	GITSSH_NS=1 exec unshare -nm sh "$0" "$@"
fi
mount -t tmpfs -o mode=755 tmpfs /run/sshd
cp /etc/passwd /run/sshd/passwd
mount --bind /run/sshd/passwd /etc/passwd
ip link set lo up
. "$(dirname "$0")/lib.sh"
umask 022
base
mkdir -p "$T/home/.ssh" "$T/sudo/.ssh" "$T/srv" "$T/canary" "$T/ctx" "$T/more" && cd "$T" || exit 1
echo safe >canary/file
# Whose known_hosts count is what the table of users says.
{
	echo "root:x:0:0::$T/home:/bin/sh"
	echo "git:x:0:0::/:/bin/sh"
	echo "caller:x:4321:4321::$T/sudo:/bin/sh"
	grep -v '^root:' /run/sshd/passwd
} >passwd
cat passwd >/etc/passwd
unset SSH_AUTH_SOCK SUDO_UID SUDO_GID

# Served: a repository with a submodule and hostile links
g() { d=$1; shift; git -C "$T/$d" -c user.name=t -c user.email=t@t -c commit.gpgsign=false -c protocol.file.allow=always "$@"; }
mkdir sub repo
g sub init -q -b main
echo sub >sub/s
g sub add -A
g sub commit -qm sub
git clone -q --bare sub srv/sub.git
g repo init -q -b main
mkdir repo/docs
echo one >repo/docs/a
printf 'FROM busybox\nCOPY . /c/\n' >repo/Dockerfile
g repo submodule -q add "$T/srv/sub.git" sub
sed -i 's,url = .*,url = ../sub.git,' repo/.gitmodules
g repo add -A
g repo commit -qm one
g repo tag v1
ln -s / repo/out
echo two >repo/docs/a
g repo add -A
g repo commit -qm two
git clone -q --bare repo srv/repo.git

for k in host other user locked stranger; do
	ssh-keygen -q -t ed25519 -N "$([ $k != locked ] || echo passphrase)" -C "$k" -f "$T/key-$k"
done
ssh-keygen -q -t rsa -b 2048 -N "" -C rsa -m PEM -f "$T/key-rsa"
# What runs for the client: notes what the programs of shale know, and hangs, when asked to.
cat >wrap <<E
#!/bin/sh
net=\$(readlink /proc/self/ns/net) mnt=\$(readlink /proc/self/ns/mnt)
[ ! -e $T/look ] || for p in /proc/[0-9]*; do
	read -r comm <\$p/comm || continue
	case \$comm in
	git | git-* | ssh | ssh-a*)
		[ "\$(readlink \$p/ns/net)" = "\$net" ] && [ "\$(readlink \$p/ns/mnt)" != "\$mnt" ] || continue
		(tr '\\0' '\\n' <\$p/environ; echo) >>$T/seen.env 2>/dev/null
		(tr '\\0' ' ' <\$p/cmdline; echo) >>$T/seen.argv 2>/dev/null
		(grep '^Uid:' \$p/status) >>$T/seen.uid 2>/dev/null
		;;
	esac
done
if [ -e $T/hang ]; then touch $T/hangs; sleep 20; exit 1; fi
exec sh -c "\$SSH_ORIGINAL_COMMAND"
E
chmod 755 wrap
for k in user rsa; do printf 'restrict,command="%s/wrap" %s\n' "$T" "$(cat key-$k.pub)"; done >authorized
cat >sshd.conf <<E
ListenAddress 127.0.0.1:22
HostKey $T/key-host
PidFile none
AuthorizedKeysFile $T/authorized
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
E
/usr/sbin/sshd -D -f "$T/sshd.conf" -E "$T/sshd.log" &
sshd=$!
eval "$(ssh-agent -a "$T/agent" | grep -v echo)"
agent=$SSH_AGENT_PID
unset SSH_AUTH_SOCK SSH_AGENT_PID
undo="kill $sshd $agent"
listens() { ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null | grep -q ed25519; }
try "sshd listens" listens
SSH_AUTH_SOCK=$T/agent ssh-add -q "$T/key-user"
known() { printf '127.0.0.1 %s\n' "$(cut -d' ' -f1-2 <"$T/key-$1.pub")"; }

url=ssh://root@127.0.0.1$T/srv/repo.git
build() { timeout 100 "$SHALE" build --progress plain --network none "$@"; }
key() { build --ssh "default=$T/key-user" "$@"; }
agent() { SSH_AUTH_SOCK="$T/agent" build --ssh default "$@"; }
run() { shale run --rm --network none "$@"; }
tree() { run "$1" sh -c "cd $2 && find . -mindepth 1 | sort | tr '\n' ' '"; }
of() { printf '%b' "$1" >"$T/Dockerfile" && shift && "$@" -f "$T/Dockerfile" -t t ctx; }

code 1 "without --ssh" build "$url"
has "it says what to give" "give --ssh default"
code 1 "ADD without --ssh" of "FROM busybox\nADD git@127.0.0.1:$T/srv/repo.git /r\n" build
has "says it as well" "give --ssh default"
code 1 "--ssh default without an agent" build --ssh default "$url"
has "names the variable" "SSH_AUTH_SOCK is not set"
code 1 "a host that is not known" key "$url"
has "is refused" "host key is not known"
known other >home/.ssh/known_hosts
code 1 "a host with another key than the known one" key "$url"
has "is refused" "someone may stand in between"
known host >home/.ssh/known_hosts
ok "a context, by a key" key -t t "$url#v1"
is "has its files and those of the submodule" "./.gitmodules ./Dockerfile ./docs ./docs/a ./sub ./sub/.git ./sub/s " "$(tree t /c)"
is "of that tag" one "$(run t cat /c/docs/a)"
ok "again, by an agent" agent -t t "$url#v1"
is "is cached" 1 "$(grep -c CACHED "$T/err")"
ok "by a key in PEM" build --ssh "default=$T/key-rsa" -t t "$url#v1"
ok "by two keys" build --ssh "default=$T/key-stranger,$T/key-user" -t t "$url#v1"
ok "ADD of git@HOST:PATH" of "FROM busybox\nADD git@127.0.0.1:$T/srv/repo.git#main:docs /d\nADD --keep-git-dir=true $url?tag=v1 /k\n" agent
is "has a subdirectory" two "$(run t cat /d/a)"
is "and the repository" "one sub" "$(run t cat /k/docs/a /k/sub/s | xargs)"
printf 'FROM busybox\nCOPY --from=more docs/a /a\n' >more/Dockerfile
ok "a named context" key --build-context "more=$url#v1" -t t more
is "has its files" one "$(run t cat /a)"
ok "--check of a repository" key --check "$url"

# whose known_hosts
mv home/.ssh/known_hosts sudo/.ssh/known_hosts
code 1 "root's known_hosts is empty" key "$url"
ok "under sudo the caller's counts" env SUDO_UID=4321 SUDO_GID=4321 "$SHALE" build --network none --ssh "default=$T/key-user" "$url"
ok "--ssh-known-hosts" key --ssh-known-hosts sudo/.ssh/known_hosts "$url"
known other >wrong
code 1 "--ssh-known-hosts alone counts" env SUDO_UID=4321 SUDO_GID=4321 "$SHALE" build --network none --ssh "default=$T/key-user" --ssh-known-hosts wrong "$url"
code 1 "one that is not there" key --ssh-known-hosts none "$url"
has "is told" "--ssh-known-hosts none"
known host >home/.ssh/known_hosts

# keys
code 1 "a key that nobody let in" build --ssh "default=$T/key-stranger" "$url"
has "is told" "no key of --ssh default is accepted"
code 1 "a key with a passphrase" build --ssh "default=$T/key-locked" "$url"
has "has to be in an agent" "a key with a passphrase has to be in an agent"
code 1 "what is no key" build --ssh "default=$T/sshd.conf" "$url"
code 1 "a key that is not there" build --ssh "default=$T/none" "$url"
code 1 "socket and key" build --ssh "default=$T/agent,$T/key-user" "$url"
has "exclude each other" "one socket, or keys alone"
code 1 "--ssh of another name" build --ssh "other=$T/key-user" "$url"
hidden() { unshare -m sh -c 'for p in /usr/bin/$1 /usr/local/bin/$1; do [ ! -e $p ] || mount --bind /dev/null $p; done; shift; exec "$@"' sh "$@"; }
for p in ssh ssh-agent; do
	code 1 "without the program $p" hidden $p "$SHALE" build --network none --ssh "default=$T/key-user" "$url"
	has "its package is named" "the program $p is not installed: it is in the package openssh-client"
done

# T24, T25: what the repository and the URL bring along
code 1 "T24: a directory that is a symlink out of the repository" key "$url#main:out$T/canary"
has "T24: is refused" "of the repository"
code 1 "T24: .. as well" key "$url#main:../../../etc"
for bad in "ssh://-oProxyCommand=touch%20$T%2Fpwned/x" "ssh://root@-oProxyCommand=touch%20$T%2Fpwned/x" "git@-oProxyCommand=x:y"; do
	code 1 "T24: $bad" key "$bad"
	has "T24: is no host" "no name of a host"
done
code 1 "T24: a path alone" key "git@$T/srv/repo.git"
has "T24: is none either" "want git@HOST:PATH"
git clone -q --bare repo srv/evil.git
printf '[submodule "sub"]\n\tpath = sub\n\turl = ssh://-oProxyCommand=touch%%20%s/pwned/x\n' "$T" >repo/.gitmodules
g repo add -A
g repo commit -qm evil
g repo push -q "$T/srv/evil.git" HEAD:refs/heads/evil
code 1 "T24: a submodule whose host is an option" key "ssh://root@127.0.0.1$T/srv/evil.git#evil"
printf '[submodule "sub"]\n\tpath = sub\n\turl = file://%s/srv/sub.git\n' "$T" >repo/.gitmodules
g repo commit -qam evil2
g repo push -q "$T/srv/evil.git" HEAD:refs/heads/evil2
code 1 "T24: a submodule on the host's disk" key "ssh://root@127.0.0.1$T/srv/evil.git#evil2"
ok "T25: a password in the URL" key -t t "ssh://root:hunter2-url@127.0.0.1$T/srv/repo.git#v1"
hasnt "T25: is not said" hunter2-url

# T30, T34: nothing of the caller's gets there
touch look
printf 'Host *\n\tProxyCommand touch %s/pwned\n\tPermitLocalCommand yes\n\tLocalCommand touch %s/pwned\n' "$T" "$T" >home/.ssh/config
printf '[core]\n\tsshCommand = touch %s/pwned\n' "$T" >home/.gitconfig
ok "T30: with hostile variables and configuration" env HOME="$T/home" CANARY=hunter2-env GIT_SSH_COMMAND="touch $T/pwned" \
	GIT_SSH="$T/wrap" GIT_CONFIG_GLOBAL="$T/home/.gitconfig" "$SHALE" build --no-cache --network none --ssh "default=$T/key-user" "$url#main"
ok "T30: and by an agent" env HOME="$T/home" CANARY=hunter2-env SSH_AUTH_SOCK="$T/agent" \
	"$SHALE" build --no-cache --network none --ssh default "$url#main"
ok "T34: git, ssh and ssh-agent were looked at" grep -q "ssh-agent -D" seen.argv
ok "T34: git, too" grep -q "^git .*fetch" seen.argv
rm look
is "T34: all of them were a user's that nobody else is" "" "$(awk '{ for (i = 2; i <= 5; i++) if ($i != 2147418112) print }' seen.uid)"
code 1 "T30: none of them had the caller's variables" grep -q hunter2-env seen.env
is "T30: nor the agent's address" "" "$(grep -v '=/tmp/agent$' seen.env | grep SSH_AUTH_SOCK || true)"
code 1 "T30: nothing of the caller's configuration ran" test -e pwned
secret=$(sed -n 3p key-user)
code 1 "T34: the key is in no argument" grep -qF "$secret" seen.argv
code 1 "T34: nor in a variable" grep -qF "$secret" seen.env
ok "T25: the records" shale builds inspect @last
hasnt "T25: say nothing" hunter2
code 1 "T34: nothing of it is in the store" grep -rqaF -e "$secret" -e hunter2 -e "OPENSSH PRIVATE KEY" "$SHALE_ROOT"
is "nothing is left in tmp" "" "$(find "$SHALE_ROOT/tmp" -mindepth 1 -maxdepth 1 -name '[0-9]*')"

# keys for RUN
host="-v /usr:/usr -v /lib:/lib -v /lib64:/lib64 -v /etc/passwd:/etc/passwd"
steps='FROM busybox\nRUN --mount=type=ssh ssh-add -l >/l\nRUN --mount=type=ssh ssh-add -D 2>&1 | tee /d; ssh-add -l >/l2\nRUN --mount=type=ssh for i in $(seq 40); do ssh-add -l >/many || exit 1; done\n'
# shellcheck disable=SC2086
if [ -d /lib64 ] && ok "RUN --mount=type=ssh with a key" of "$steps" key $host; then
	is "has that key" "$(ssh-keygen -lf key-user.pub | cut -d' ' -f2)" "$(run t cut -d' ' -f2 /l)"
	is "and cannot take it away" "$(run t cat /l)" "$(run t cat /l2)"
	is "however often it is asked for" "$(run t cat /l)" "$(run t cat /many)"
fi

# ^C and kill -9 while it is fetched
touch hang
ours() { for p in /proc/[0-9]*; do [ "$(readlink "$p/ns/net")" = "$(readlink /proc/self/ns/net)" ] && tr '\0' ' ' <"$p/cmdline" 2>/dev/null && echo; done |
	grep -e '^git ' -e '^ssh ' -e '^ssh-agent -D' || true; }
nobody() { [ -z "$(ours)" ]; }
for sig in INT KILL; do
	rm -f hangs
	"$SHALE" build --network none --ssh "default=$T/key-user" "$url" >slow 2>&1 &
	pid=$!
	try "it is fetched" test -e hangs
	kill -$sig $pid
	wait $pid 2>/dev/null || true
	try "after SIG$sig nobody fetches it any more" nobody
	ok "gc" shale gc
	is "nothing is left in tmp" "" "$(find "$SHALE_ROOT/tmp" -mindepth 1 -maxdepth 1 -name '[0-9]*')"
done
is "the canary is untouched" "safe 644 1" "$(cat canary/file) $(stat -c %a canary/file) $(find canary -mindepth 1 | wc -l)"
kill $sshd $agent
undo=
no_leaks
done_testing
