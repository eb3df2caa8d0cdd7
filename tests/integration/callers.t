# SPDX-License-Identifier: Apache-2.0
# The argument lists that Jenkins' Docker Pipeline, GitLab's runner and kind give to docker, for the verbs that shale has.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/ws" && cd "$T/ws"
printf 'FROM busybox\nLABEL by=table\n' >Dockerfile

# Jenkins: build, inspect, run with a terminal and cat, exec, stop, rm
ok "jenkins: build" shale build -t job:1 -f Dockerfile .
ok "jenkins: is the image there" shale inspect -f . job:1
is "jenkins: the answer" "." "$(cat "$T/out")"
ok "jenkins: run" shale run -t -d -u 1000:1000 -w "$T/ws" -v "$T/ws:$T/ws:rw,z" -v "$T/ws@tmp:$T/ws@tmp:rw,z" -e A=1 -e B=2 job:1 cat
id=$(cat "$T/out")
ok "jenkins: exec" shale exec --env X=1 --workdir "$T/ws" "$id" sh -c 'test "$X$A$B" = 112 && test "$(id -u)" = 1000'
ok "jenkins: inspect the container" shale inspect -f '{{.Id}} {{.State.Running}}' "$id"
is "jenkins: the answer" "$id true" "$(cat "$T/out")"
ok "jenkins: stop" shale stop --time=1 "$id"
ok "jenkins: rm" shale rm -f --volumes "$id"
ok "jenkins: tag" shale tag job:1 registry.example:5000/team/job:1
ok "jenkins: rmi" shale rmi -f registry.example:5000/team/job:1

# GitLab's shell executor scripts and templates
ok "gitlab: build" shale build --rm=true --force-rm --build-arg CI=1 --label commit=abc --network=host --tag "reg.example/g/p:abc" --tag "reg.example/g/p:latest" .
ok "gitlab: images" shale images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}' reg.example/g/p
has "gitlab: by repository" "reg.example/g/p:abc sha256:"
ok "gitlab: run" shale run --rm --entrypoint "" -e CI=1 -v "$T/ws:/builds:ro" -w /builds reg.example/g/p:abc sh -c 'ls Dockerfile'
ok "gitlab: filters" shale ps -a -q --no-trunc --filter name=runner- --filter status=exited
ok "gitlab: prune" shale image prune -f
ok "gitlab: container prune" shale container prune -f
ok "gitlab: save" sh -c "$SHALE save reg.example/g/p:abc | wc -c"
ok "gitlab: buildx" shale buildx build --load -t reg.example/g/p:x .
ok "gitlab: image inspect" shale image inspect --format '{{index .Config.Labels "commit"}}' reg.example/g/p:abc
is "gitlab: the label" abc "$(cat "$T/out")"

# kind's listing calls
ok "kind: list nodes" shale ps -a --filter label=io.x-k8s.kind.cluster=kind --format '{{.Names}}'
ok "kind: create" shale create --name node --hostname node --label io.x-k8s.kind.cluster=kind --label io.x-k8s.kind.role=worker \
	--privileged --security-opt seccomp=unconfined --tmpfs /tmp --tmpfs /run --volume /lib:/lib/host:ro -e K=1 --tty job:1
ok "kind: find it" shale ps -a --filter label=io.x-k8s.kind.cluster=kind --format '{{.Names}}'
is "kind: its name" node "$(cat "$T/out")"
ok "kind: label" shale inspect --type=container --format '{{ index .Config.Labels "io.x-k8s.kind.role"}}' node
is "kind: its value" worker "$(cat "$T/out")"
ok "kind: delete" shale rm -f -v node
ok "version by template" shale version --format '{{.Server.Version}}'
# What is not there, or not together with --rm, is refused by name, never ignored.
for o in --restart=always --storage-opt=size=1g --log-driver=syslog; do
	code 125 "run $o is refused" shale run --rm "$o" busybox true
	has "run $o: by its name" "${o%%=*}"
done
no_leaks
done_testing
