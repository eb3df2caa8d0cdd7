# SPDX-License-Identifier: Apache-2.0
# commit: a container's layer and settings become an image, and the container goes on.
. "$(dirname "$0")/lib.sh"
base
out() { cat "$T/out"; }
show() { shale image inspect -f "$1" "$2"; }

shale run --name made --network none -e A=b -w /srv -l k=v busybox sh -c 'echo new >/srv/new; rm /etc/group; mkdir -p /etc/dir; ln /srv/new /srv/second; chmod 4755 /srv/new' >/dev/null
ok "commit" shale commit -m "by hand" -a "A. Uthor" -c 'CMD ["cat","/srv/new"]' -c 'ENV C=d' made mine:1
is "prints the id" "$(show '{{.Id}}' mine:1)" "$(out)"
is "its command" new "$(shale run --rm --network none mine:1)"
is "what was removed is not there" gone "$(shale run --rm --network none mine:1 sh -c 'test -e /etc/group || echo gone')"
is "hard links and modes" "2 4755" "$(shale run --rm --network none mine:1 stat -c '%h %a' /srv/second)"
is "environment of the container and of --change" "b d" "$(shale run --rm --network none mine:1 sh -c 'echo $A $C')"
hasname() { show '{{json .Config.Env}}' mine:1; }
ok "env" hasname
hasnt "a host name is not the image's" HOSTNAME
is "workdir and label" "/srv v" "$(show '{{.Config.WorkingDir}} {{.Config.Labels.k}}' mine:1)"
ok "history" shale history --no-trunc --format '{{.Comment}}' mine:1
has "has the message" "by hand"
is "author" "A. Uthor" "$(show '{{.Author}}' mine:1)"
is "the layer rests on the image's" 2 "$(show '{{len .RootFS.Layers}}' mine:1)"
ok "it is whole" shale verify mine:1
ok "what diff says stays the same" shale diff made
has "added" "A /srv/new"
ok "the container starts again" shale start -a made

shale run -d --name busy --network none busybox sh -c 'i=0; while :; do i=$((i + 1)); echo $i >/a; echo $i >/b; done' >/dev/null
sleep 0.3
ok "of a running one" shale commit busy live
is "it runs on" "running false" "$(shale container inspect -f '{{.State.Status}} {{.State.Paused}}' busy)"
same=$(shale run --rm --network none live sh -c 'a=$(cat /a); b=$(cat /b); [ "$a" = "$b" ] || [ "$a" = $((b + 1)) ] || [ -z "$a" ] || [ -z "$b" ] || echo "$a $b"')
is "and stood still meanwhile" "" "$same"
shale run -d --name quiet --network none busybox sleep 1000 >/dev/null
ok "-p=false" shale commit -p=false quiet live2
ok "without a name" shale container commit busy
code 1 "a bad instruction" shale commit -c 'RUN true' busy bad
code 1 "no such container" shale commit nosuch
code 1 "a bad name" shale commit busy 'A B'
ok "rm -f" shale rm -f made busy quiet
no_leaks
done_testing
