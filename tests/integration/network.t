# SPDX-License-Identifier: Apache-2.0
# Bridge networks by netavark and aardvark-dns: addresses, names, ports, and that nothing of them stays. In a network
# namespace of its own, and with a /run of its own, which is emptied where the machine goes down.
if [ "${1:-}" != inside ]; then
	exec unshare --net --mount --propagation private sh "$0" inside
fi
mount -t tmpfs none /run
ip link set lo up
. "$(dirname "$0")/lib.sh"
base
out() { cat "$T/out"; }
ip_of() { shale container inspect -f '{{.NetworkSettings.IPAddress}}' "$1"; }
state() { shale container inspect -f '{{.State.Status}}' "$1"; }
# What netavark leaves for good are its chains and what leads to them.
links() { ip -br link | grep -c -E 'shale-|veth' || true; }
rules() { { iptables-save; ip6tables-save; } | grep -E -- '-[sd] (10\.|fd)|--dport' || true; }
server_pid() { cat /run/shale/networks/aardvark-dns/aardvark.pid 2>/dev/null || true; }
servers() { s=$(server_pid); [ -z "$s" ] || readlink "/proc/$s/exe" || true; }
users() { find /run/shale/networks -maxdepth 1 -type f -name '????????????????????????????????????????????????????????????????' | wc -l; }
bare() { [ "$(links) $(rules | wc -l) $(users)" = "0 0 0" ]; }
get() { python3 -c 'import sys,urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1], timeout=3).read().decode())' "$1"; }
web='echo "$0" >/index.html; exec httpd -f -p 80 -h /'

# --- networks ------------------------------------------------------------------------------------------------------
ok "create" shale network create --label a=b one
id=$(out)
is "an id" 64 "$(printf %s "$id" | wc -c)"
code 1 "the name is taken" shale network create one
code 1 "a name that is none" shale network create 'a b'
code 1 "a reserved name" shale network create host
ok "with addresses" shale network create --subnet 10.123.0.0/29 --gateway 10.123.0.6 --internal small
code 1 "addresses that are taken" shale network create --subnet 10.123.0.0/16 other
code 1 "no subnet" shale network create --subnet 10.123.0.0 other
code 2 "another driver" shale network create -d macvlan other
is "ls" "$(printf 'one bridge 10.90.0.0/24 false a=b\nsmall bridge 10.123.0.0/29 true \nhost host  false \nnone null  false ')" \
	"$(shale network ls --format '{{.Name}} {{.Driver}} {{.Subnet}} {{.Internal}} {{.Labels}}')"
is "inspect by the beginning of its id" "one 10.90.0.1" "$(shale network inspect -f '{{.Name}} {{(index .IPAM.Config 0).Gateway}}' "$(printf %.6s "$id")")"
code 1 "no such network" shale network inspect nosuch
code 125 "nor for run" shale run --network nosuch busybox true
has "says so" "no such network: nosuch"

# --- two containers ------------------------------------------------------------------------------------------------
ok "a server" shale run -d --name server --network one --network-alias www busybox sh -c "$web" hello
is "its address" 10.90.0.2 "$(ip_of server)"
is "the network's members" server "$(shale network inspect -f '{{range .Containers}}{{.Name}}{{end}}' one)"
ok "another one asks it by name" shale run --rm --network one busybox wget -q -O - http://server/
is "and is answered" hello "$(out)"
is "by its other name" hello "$(shale run --rm --network one busybox wget -q -O - http://www/)"
ok "its own files" shale exec server cat /etc/hosts /etc/resolv.conf
has "its address in hosts" "10.90.0.2	$(shale container inspect -f '{{.Config.Hostname}}' server) server"
has "the server of names" "nameserver 10.90.0.1"
ok "an address that is asked for" shale run --rm --network one --ip 10.90.0.77 --mac-address 02:00:00:00:00:77 busybox ip a
has "it has it" "inet 10.90.0.77/24"
has "and that hardware" "02:00:00:00:00:77"
code 125 "one that is in use" shale run --rm --network one --ip 10.90.0.2 busybox true
code 125 "one of another network" shale run --rm --network one --ip 10.90.1.2 busybox true
ok "its network is shared" shale run --rm --network container:server busybox ip a
has "by container:" "inet 10.90.0.2/24"
ok "or by ns:" shale run --rm --network "ns:/proc/$(shale container inspect -f '{{.State.Pid}}' server)/ns/net" busybox wget -q -O - http://127.0.0.1/
code 125 "no namespace" shale run --rm --network ns:/etc/passwd busybox true
ok "none is empty" shale run --rm --network none busybox sh -c 'ip -o link | grep -v " lo:" | wc -l'
is "but for lo" 0 "$(out)"
ok "an internal one" shale run --rm --network small busybox ip r
hasnt "has no way out" default
ok "--dns" shale run --rm --network bridge --dns 192.0.2.1 --dns-search example.org --dns-option ndots:2 busybox cat /etc/resolv.conf
is "is what it is told" "$(printf 'nameserver 192.0.2.1\nsearch example.org\noptions ndots:2')" "$(out)"
ok "two networks" shale run --rm --network one --network name=small,ip=10.123.0.3 busybox ip a
has "two interfaces" "inet 10.123.0.3/29"
code 1 "another network is not reached" shale run --rm --network bridge busybox nc -w 1 10.90.0.2 80
is "ps by network" server "$(shale ps -f network=one --format '{{.Names}}')"
code 1 "rm of one in use" shale network rm one
code 1 "rm of the default" shale network rm bridge

# --- connect, disconnect -------------------------------------------------------------------------------------------
ok "connect" shale network connect --ip 10.123.0.4 --alias srv small server
is "it is reached there" hello "$(shale run --rm --network small busybox wget -q -O - http://srv/)"
code 1 "connect again" shale network connect small server
ok "its own file" shale exec server cat /etc/hosts
has "says so" "10.123.0.4	"
shale exec server sh -c 'echo "192.0.2.9	mine" >>/etc/hosts'
ok "disconnect" shale network disconnect small server
ok "its own file" shale exec server cat /etc/hosts
hasnt "no more" "10.123.0.4	"
has "but the other one" "10.90.0.2	"
has "and what it wrote itself" "192.0.2.9	mine"
code 1 "disconnect again" shale network disconnect small server
code 125 "a link to one in another network" shale run --rm --network bridge --link server:web busybox true
has "says so" "does not run in a network"
is "a link in its own" hello "$(shale run --rm --network one --link server:web busybox sh -c 'grep -q "10.90.0.2	web .* server$" /etc/hosts && wget -q -O - http://web/')"
code 125 "none to nobody" shale run --rm --link nosuch:web busybox true
code 125 "nor without a network" shale run --rm --network none --link server busybox true
shale run -d --name plain --network bridge --add-host up:host-gateway busybox sleep 1011 >/dev/null
ok "until it is in another one, too" shale network connect one plain
is "where it asks" "nameserver 10.90.0.1" "$(shale exec plain grep nameserver /etc/resolv.conf)"
is "and is answered" hello "$(shale exec plain wget -q -O - http://server/)"
shale exec plain sh -c 'echo nameserver 192.0.2.1 >/etc/resolv.conf'
shale network disconnect one plain
is "what it wrote there stays" "nameserver 192.0.2.1" "$(shale exec plain cat /etc/resolv.conf)"
code 125 "bridge has no names to give" shale run --rm --network bridge --network-alias x busybox true
has "says where" "network create"
shale rm -f plain >/dev/null
is "the first one stays" hello "$(shale run --rm --network one busybox wget -q -O - http://server/)"
code 125 "without a network" shale run --rm --network one --network none busybox true

# --- ports ---------------------------------------------------------------------------------------------------------
ok "publish" shale run -d --name web -p 18081:80 -p 127.0.0.1::53/udp busybox sh -c "$web" outside
is "port" 0.0.0.0:18081 "$(shale port web 80)"
is "the kernel chose the other" 127.0.0.1: "$(shale port web 53/udp | sed 's/[0-9]*$//')"
is "ps" "0.0.0.0:18081->80/tcp" "$(shale ps --format '{{.Ports}}' -f name=web | sed 's/, .*//')"
is "inspect" 18081 "$(shale container inspect -f '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}' web)"
try "the host's port leads there" get http://127.0.0.1:18081/
is "to that server" outside "$(out)"
code 125 "the port is taken" shale run --rm -p 18081:80 busybox true
has "says by whom" "port 18081/tcp of the host: in use by container web"
code 125 "also for one address" shale run --rm -p 127.0.0.1:18081:80 busybox true
code 125 "and in a range" shale run --rm -p 18080-18082:80-82 busybox true
is "which holds nothing then" 18082 "$(python3 -c 'import socket; s = socket.create_server(("", 18082)); print(s.getsockname()[1])')"
ok "the other protocol's is another" shale run --rm -p 18081:80/udp busybox true
code 1 "no program of the host gets it" python3 -c 'import socket; socket.create_server(("", 18081))'
has "since it is held" "Address already in use"
python3 -c 'import socket,time; s = socket.create_server(("127.0.0.1", 18082)); open("'"$T"'/bound", "w"); time.sleep(30)' &
holder=$!
try "somebody listens" test -e "$T/bound"
code 125 "a port of the host's own" shale run --rm -p 18082:80 busybox true
has "whose" "in use by python3 (process $holder)"
ok "any of a range" shale run -d --name ranged -p 18082-18084:80 -p 18085-18086:85-86/udp busybox sleep 1010
is "is the first that is free" "80/tcp -> 0.0.0.0:18083 85/udp -> 0.0.0.0:18085 86/udp -> 0.0.0.0:18086" "$(shale port ranged | xargs)"
is "ps has them" "0.0.0.0:18083->80/tcp, 0.0.0.0:18085-18086->85-86/udp" "$(shale ps --format '{{.Ports}}' -f name=ranged)"
kill $holder
wait $holder || true
ok "rm" shale rm -f ranged
ok "a port that is free again" python3 -c 'import socket; socket.create_server(("", 18083))'
code 125 "odd ports" shale run -p 1-3:3-4 busybox true
code 125 "ports with none" shale run --network none -p 80:80 busybox true
ok "-P" shale run -d --name all -P --expose 81 busybox sleep 1003
is "publishes what is exposed" 81/tcp "$(shale port all | sed 's/ ->.*//')"

# --- IPv6 ----------------------------------------------------------------------------------------------------------
ip link add host0 type bridge
ip addr add fd77::1/64 dev host0 nodad
ip link set host0 up
ok "create" shale network create --ipv6 --subnet 10.124.0.0/24 --subnet fd00:5::/64 --gateway fd00:5::9 six
is "both subnets" "true 10.124.0.0/24 10.124.0.1 fd00:5::/64 fd00:5::9 " \
	"$(shale network inspect -f '{{.EnableIPv6}} {{range .IPAM.Config}}{{.Subnet}} {{.Gateway}} {{end}}' six)"
ok "--ipv6 alone" shale network create --ipv6 chosen
is "is one of nobody's" fd "$(shale network inspect -f '{{(index .IPAM.Config 1).Subnet}}' chosen | cut -c1-2)"
code 1 "addresses that are taken" shale network create --subnet fd00:5::/48 other
code 1 "the host's" shale network create --subnet fd77::/80 other
code 1 "two of one kind" shale network create --subnet fd01::/64 --subnet fd02::/64 other
ok "a server" shale run -d --name six --network six --ip6 fd00:5::5 -p 18087:80 -p '[fd77::1]:18088:80' busybox sh -c "$web" sixth
is "its address" "fd00:5::5 64 fd00:5::9" "$(shale container inspect -f '{{with .NetworkSettings}}{{.GlobalIPv6Address}} {{.GlobalIPv6PrefixLen}} {{.IPv6Gateway}}{{end}}' six)"
ok "it is reached there" shale run --rm --network six busybox ping -c 1 -W 3 fd00:5::5
is "under its name" fd00:5::5 "$(shale run --rm --network six busybox nslookup -type=aaaa six | sed -n 's/^Address: //p' | tail -n 1)"
ok "its own file" shale exec six cat /etc/hosts
has "has both" "fd00:5::5	"
code 125 "an address in use" shale run --rm --network six --ip6 fd00:5::5 busybox true
code 125 "where there is none" shale run --rm --network one --ip6 fd00:5::6 busybox true
try "a port of all" get 'http://[fd77::1]:18087/'
try "in both" get 'http://127.0.0.1:18087/'
try "and of one" get 'http://[fd77::1]:18088/'
is "port" "80/tcp -> 0.0.0.0:18087 80/tcp -> [::]:18087 80/tcp -> [fd77::1]:18088" "$(shale port six | xargs)"
code 125 "one of IPv6 in a network without" shale run --rm --network one -p '[fd77::1]:18089:80' busybox true
has "says how" "network create --ipv6"
code 125 "nor all of IPv6" shale run --rm --network one -p '[::]:18089:80' busybox true
filter=/proc/sys/net/bridge/bridge-nf-call-ip6tables
if [ -e $filter ]; then
	echo 1 >$filter
	code 125 "the loopback address where bridges filter" shale run --rm --network six -p '[::1]:18089:80' busybox true
	has "says why" "bridge-nf-call-ip6tables=1"
	echo 0 >$filter
else skip "bridges do not filter here"; fi
ok "the loopback address" shale run -d --name loop --network six -p '[::1]:18089:80' busybox sh -c "$web" looped
try "leads there" get 'http://[::1]:18089/'
is "to that server" looped "$(out)"
code 1 "another address does not" get 'http://[fd77::1]:18089/'
try "as does a port of all" get 'http://[::1]:18087/'
is "to its own" sixth "$(out)"
try "the host's own answers there as well" python3 -c 'import socket as s; a = s.create_server(("::1", 18090), family=s.AF_INET6); s.create_connection(("::1", 18090), 3)'
is "port" "80/tcp -> [::1]:18089" "$(shale port loop)"
code 125 "it is taken" shale run --rm --network six -p '[::1]:18089:80' busybox true
has "says by whom" "in use by container loop"
ok "rm" shale rm -f loop
ok "connect" shale network connect --ip6 fd00:5::7 six server
has6() { shale exec "$1" ip -6 -o a show dev "$2"; }
ok "gives one" has6 server eth1
has "as it was asked for" "fd00:5::7/64"
# Those of an internal network, and what they ask its server of names.
ip addr add 192.0.2.53/24 dev host0
cat >"$T/dns.py" <<'P'
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("192.0.2.53", 53))
open(sys.argv[1], "w").close()
while True:
    q, a = s.recvfrom(512)
    open(sys.argv[1], "ab").write(q[13:13 + q[12]] + b"\n")
    s.sendto(q[:2] + b"\x81\x80" + q[4:6] + b"\0\1\0\0\0\0" + q[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\xc0\0\2\x01", a)
P
python3 "$T/dns.py" "$T/asked" &
dns=$!
try "a server of the host's" test -e "$T/asked"
echo nameserver 192.0.2.53 >"$T/resolv"
mount --bind "$T/resolv" /etc/resolv.conf
asks() { shale run --rm "$@" sh -c 'timeout "$0" nslookup -type=a "$1"; exit $?' "$limit" "$word"; }
limit=20
word=outer.example ok "is asked from a network" asks --network six busybox
is "by its server" outer "$(cat "$T/asked")"
ok "one inside" shale network create --internal inner
limit=1
# No answer, or that there is none (newer servers).
in_vain() { ! asks "$@"; }
word=inner.example ok "not from an internal one" in_vain --network inner busybox
word=asked.example ok "nor whom --dns names" in_vain --network inner --dns 192.0.2.53 busybox
is "nothing is sent" outer "$(cat "$T/asked")"
kill $dns
wait $dns || true
umount /etc/resolv.conf
# T35: who has no IPv6 has none at all, and who has no network asks nobody.
is "an interface without it" "" "$(has6 server eth0)"
ok "disconnect" shale network disconnect six server
ok "none" shale run --rm --network none --dns 10.90.0.1 busybox sh -c 'ip -o a; cat /etc/resolv.conf; ! nslookup server 10.90.0.1; ! ping -c 1 -W 1 10.90.0.1; ip r; ip -6 r'
hasnt "has no interface" eth
hasnt "no link-local address" fe80
hasnt "no route" default
hasnt "no answer" "Name:"
ok "an internal network" shale run --rm --network small busybox sh -c '! ping -c 1 -W 1 192.0.2.1; ! nslookup server 10.90.0.1; ip -6 -o a'
hasnt "does not speak beyond it" "Name:"
hasnt "nor in IPv6" eth0
ok "rm" shale rm -f six
is "no way to ::1 but the host's own" 1 "$(ip -6 route show table local | grep -c '^local ::1 ')"
ip link del host0

# --- the end -------------------------------------------------------------------------------------------------------
ok "stop" shale stop -t 0 web all
# Newer netavarks keep those for questions to the server of names.
is "no rule of its ports" "" "$(rules | grep -E -- '--dport' | grep -v -- '--dport 53 ' || true)"
code 1 "nor a port" shale port web 80
ok "start" shale start web
try "the port is back" get http://127.0.0.1:18081/
ok "rm -f" shale rm -f web all server
ok "all is gone" bare
is "aardvark-dns too" "" "$(servers)"

# kill -9 of the monitor, of the foreground's shale: whoever looks next takes it back.
shale run -d --name lost --network one -p 18083:80 busybox sleep 1004 >/dev/null
kill -9 "$(ps -o ppid= -p "$(shale container inspect -f '{{.State.Pid}}' lost)")"
is_state() { [ "$(state "$1")" = "$2" ]; }
try "without its monitor it has ended" is_state lost exited
ok "nothing is left" bare
shale rm lost >/dev/null
"$SHALE" run --rm --name fore --network one busybox sleep 1005 &
shell=$!
runs() { [ "$(state fore)" = running ] && shale exec fore true; }
try "one in the foreground" runs
kill -9 $shell
wait $shell || true
ok "ps" shale ps
ok "nothing is left of it" bare
# Its pid 1 is killed; two in two networks are, one by its monitor; their interfaces are not what they were.
pid_of() { shale container inspect -f '{{.State.Pid}}' "$1"; }
two() { shale run -d --name "$1" --network one --network small -p "$2:80" --cap-add NET_ADMIN busybox sleep 1007 >/dev/null; }
two lost 18083
two other 18084
kill -9 "$(pid_of other)"
try "without pid 1 it has ended" is_state other exited
is "what it had in both is free" "1 1" "$(users) $(rules | grep -c -- '--dport 18083.*-j NETAVARK-DN')"
kill -9 "$(ps -o ppid= -p "$(pid_of lost)")"
try "nor without its monitor" is_state lost exited
ok "nothing is left" bare
shale rm lost other >/dev/null
two lost 18083
two other 18084
shale exec lost sh -c 'ip link set eth1 down; ip link set eth1 name mine; ip link del eth0'
shale exec other ip link del eth1
ok "rm of who has changed its interfaces" shale rm -f lost other
ok "leaves nothing" bare
# Killed in the middle of connect, and of disconnect: the command can be given again.
shale run -d --name half --network one busybox sleep 1008 >/dev/null
shale network connect small half
python3 -c 'import sqlite3,sys; c = sqlite3.connect(sys.argv[1]); c.execute("UPDATE containers SET spec=replace(spec, ?, ?) WHERE name=?", (",\"name=small\"", "", "half")); c.commit()' "$SHALE_ROOT/db.sqlite"
is "connected, but for the row" one "$(shale ps -f name=half --format '{{.Networks}}')"
ok "connect" shale network connect small half
ok "disconnect" shale network disconnect small half
shale network connect small half
shale exec --privileged half ip link del eth1
ok "disconnect of what is not there" shale network disconnect small half
ok "and again" shale network connect small half
shale network disconnect small half
# What it was in is put back when netavark fails.
live=$(cat /run/shale/networks/"$(shale ps -q --no-trunc -f name=half)")
shale exec --privileged half ip link add eth1 type bridge
code 1 "connect, with an interface of its own in the way" shale network connect small half
has "netavark says so" "netavark setup"
is "it is in what it was" "$live" "$(cat /run/shale/networks/"$(shale ps -q --no-trunc -f name=half)")"
shale exec --privileged half ip link del eth1 2>/dev/null || true
ok "and again" shale network connect small half
ok "rm" shale rm -f half
ok "leaves nothing" bare
# So does anybody's start, of another store.
shale run -d --name lost --network one busybox sleep 1006 >/dev/null
monitor=$(ps -o ppid= -p "$(shale container inspect -f '{{.State.Pid}}' lost)" | tr -d " ")
kill -9 "$monitor"
gone() { [ ! -e "/proc/$monitor" ] || grep -q '^State:.Z' "/proc/$monitor/status"; }
try "its monitor is gone" gone
SHALE_ROOT=$T/second "$SHALE" import "$tar" busybox >/dev/null
ok "a start in another store" env SHALE_ROOT="$T/second" "$SHALE" run --rm --network bridge busybox true
try "took it back" bare
shale rm -f lost >/dev/null
# The machine goes down: /run, bridges and rules go, the store stays and its rows are of another boot.
shale run -d --name down --network one -p 18084:80 busybox sh -c "$web" again >/dev/null
shale run -d --name boots --restart always --network one --network small busybox sleep 1012 >/dev/null
for c in down boots; do
	pid=$(pid_of $c)
	kill -9 "$(ps -o ppid= -p "$pid")" "$pid"
done
kill "$(server_pid)"
rm -rf /run/shale
ip -br link | sed -n 's/^\(shale-[0-9a-f]*\|veth[0-9]*\)[ @].*/\1/p' | while read -r l; do ip link del "$l" 2>/dev/null || true; done
iptables -t nat -F
iptables -t filter -F
python3 -c 'import sqlite3,sys; c = sqlite3.connect(sys.argv[1]); c.execute("UPDATE containers SET boot=?", ("x" * 36,)); c.commit()' "$SHALE_ROOT/db.sqlite"
is "after a reboot" exited "$(state down)"
ok "it starts again" shale start down
try "with its port" get http://127.0.0.1:18084/
ok "system start" shale system start
is "starts the other" "running 10.123.0.1" "$(state boots) $(shale container inspect -f '{{.NetworkSettings.Networks.small.IPAddress}}' boots)"
shale rm -f down boots >/dev/null

# --- nobody names one ----------------------------------------------------------------------------------------------
unset SHALE_NETWORK
mkdir "$T/c"
default() { shale info --format '{{.DefaultNetwork}}'; }
is "the default is bridge" bridge "$(default)"
is "or what the environment says" host "$(SHALE_NETWORK=host default)"
printf '[network]\ndefault = none\ndns = 192.0.2.7 2001:db8::7\n' >"$T/conf"
is "or shale.conf" none "$(SHALE_CONF=$T/conf default)"
is "--network default says no more" lo: "$(SHALE_CONF=$T/conf shale run --rm --network default busybox ip -o link | cut -d' ' -f2)"
is "and run does so" lo: "$(SHALE_CONF=$T/conf shale run --rm busybox ip -o link | cut -d' ' -f2)"
is "with its servers of names" "nameserver 192.0.2.7 nameserver 2001:db8::7" \
	"$(SHALE_CONF=$T/conf SHALE_NETWORK=bridge shale run --rm busybox grep nameserver /etc/resolv.conf | xargs)"
code 1 "another word" env SHALE_NETWORK=any "$SHALE" info
printf '[network]\ndefault = any\n' >"$T/conf"
code 1 "in shale.conf" env SHALE_CONF="$T/conf" "$SHALE" info
has "has its line" "conf:2"
ok "run" shale run --rm --hostname me --add-host up:host-gateway busybox sh -c 'hostname; ip a; cat /etc/hosts'
has "has an address" "inet 10.90.1.2/24"
has "and reaches the host" "10.90.1.1	up"
try "nothing is left of it" bare
cat >"$T/c/Dockerfile" <<'D'
FROM busybox
RUN readlink /proc/self/ns/net >/one; ip a; cat /etc/hosts /etc/resolv.conf
RUN readlink /proc/self/ns/net >/two; cmp /one /two
RUN --network=none ip -o link | wc -l >/three
D
ok "a build" shale build --add-host up:host-gateway -t built "$T/c"
has "its steps have an address" "inet 10.90.1.2/24"
has "names of their own" "127.0.0.1	buildkitsandbox"
has "and the host's" "10.90.1.1	up"
is "one step needs none" 1 "$(shale run --rm --network none built cat /three)"
code 1 "it was not the host's" shale run --rm --network host built sh -c '[ "$(cat /one)" = "$(readlink /proc/self/ns/net)" ]'
try "nothing is left of it" bare
ok "the host's" shale build --network host "$T/c"
hasnt "is another step" "cached 3"
printf 'FROM busybox\nRUN --network=host true\n' >"$T/c/Host"
code 1 "the Dockerfile does not take it" shale build -f "$T/c/Host" "$T/c"
has "by itself" "needs --allow network.host"
ok "but when it may" shale build --allow network.host -f "$T/c/Host" "$T/c"
ok "a server" shale run -d --name server --network one busybox sh -c "$web" hello
printf 'FROM busybox\nRUN wget -q -O /page http://server/ && ip -o link | grep -c eth0 && false\n' >"$T/c/Named"
code 1 "a build in a network" shale build --network one -f "$T/c/Named" "$T/c"
has "asks by name" "| 1"
place=$(shale ps -aq --filter name=failed-)
ok "where it failed" shale start "$place"
is "is in that network, too" hello "$(shale exec "$place" wget -q -O - http://server/)"
code 1 "no such network" shale build --network nosuch "$T/c"
code 1 "nor a container's" shale build --network container:server "$T/c"
shale rm -f server "$place" >/dev/null
printf 'FROM busybox\nRUN echo runs; exec sleep 1009\n' >"$T/c/Long"
"$SHALE" build -f "$T/c/Long" "$T/c" >"$T/long" 2>&1 &
long=$!
try "a build runs" grep -q '| runs' "$T/long"
is "in the network" 1 "$(users)"
kill $long
wait $long || true
try "SIGTERM ends it and its network" bare
"$SHALE" build -f "$T/c/Long" "$T/c" >"$T/long" 2>&1 &
long=$!
try "a build runs" grep -q '| runs' "$T/long"
kill -9 $long
wait $long || true
ok "after SIGKILL any command" shale images
ok "takes it back" bare
mkdir "$T/empty"
mount --bind "$T/empty" /usr/lib/podman
is "without netavark the default is the host's" host "$(default)"
ok "info" shale info
has "says why" "netavark is not installed"
is "and so has run" "$(readlink /proc/self/ns/net)" "$(shale run --rm busybox readlink /proc/self/ns/net)"
code 125 "a port needs it" shale run --rm -p 80:80 busybox true
ok "what is cached needs none" env SHALE_NETWORK=bridge "$SHALE" build --add-host up:host-gateway "$T/c"
has "at all" "cached 3 of 4"
umount /usr/lib/podman
export SHALE_NETWORK=host

# --- rm, prune -----------------------------------------------------------------------------------------------------
shale create --name later --network small busybox true >/dev/null
ok "prune" shale network prune -f
is "what no container has" "chosen inner one six" "$(sort "$T/out" | xargs)"
shale rm later >/dev/null
ok "rm" shale network rm small
is "bridge stays" bridge "$(shale network ls --format '{{.Name}}' | head -n 1)"
try "nothing is left" bare
is "no server of names" "" "$(servers)"
no_leaks
done_testing
