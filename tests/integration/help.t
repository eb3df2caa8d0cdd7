# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016
# What is made from the tables of commands: help, the manual page, completion in the shells themselves.
. "$(dirname "$0")/lib.sh"
base
man=$(dirname "$SHALE")/shale.1

# Every command, also those that are spelled in a group only.
commands() {
	shale --help | sed -n '/exist only so/q; s/^  \([a-z]\{1,\}\)  .*/\1/p'
	shale --help | sed -n '/exist only so/,$s/^  \([a-z]\{1,\}\)  */\1 /p' | tr -d , | while read -r group names; do
		for name in $names; do echo "$group $name"; done
	done
}
commands | sort -u >"$T/commands"
ok "there are many" test "$(wc -l <"$T/commands")" -gt 45
is "with those of groups" 4 "$(grep -cxE 'image diff|image prune|manifest create|builder prune' "$T/commands")"
while read -r c; do
	# shellcheck disable=SC2086
	shale $c --help >"$T/help" 2>&1 || echo "$c: exit $?"
	awk -v c="$c" 'length > 100 { print c ": " length " columns" } END { if (NR > (c == "build" || c == "run" || c == "create" ? 100 : 45) || NR < 3) print c ": " NR " lines" }' "$T/help"
	head -n 1 "$T/help" | grep -q "^Usage: shale $c" || echo "$c: $(head -n 1 "$T/help")"
done <"$T/commands" >"$T/bad"
is "each help fits a screen of 100 columns: 45 lines, those of build and run 100" "" "$(cat "$T/bad")"

# The manual
ok "mandoc has nothing to say of the page" mandoc -Tlint -W warning "$man"
is "at all" "" "$(cat "$T/out")"
mandoc -Tascii "$man" | col -b >"$T/page"
while read -r c; do
	grep -qE "^ +shale $c$" "$T/page" || echo "$c"
	# shellcheck disable=SC2086
	shale $c --help | grep -oE '^  (-.,|   ) --[a-z0-9-]+' | sed 's/.*--/--/' | while read -r o; do
		awk -v head="   shale $c" '$0 == head { on = 1; next } /^   [^ ]/ { on = 0 } on' "$T/page" | grep -qE "^ +(-.,? )?,? ?$o( |$)" || echo "$c $o"
	done
done <"$T/commands" >"$T/bad"
is "has every command and every option" "" "$(cat "$T/bad")"
is "and every setting" "" "$(shale info --format json 2>/dev/null | python3 -c 'import sys, re; s = sys.stdin.read(); print("\n".join(sorted(set(re.findall(r"\b(?:store|network|containers|gc|trash|registry|trust)\.[a-z-]+", s)))))' | while read -r s; do [ -z "$s" ] || grep -qF "$s" "$T/page" || echo "$s"; done)"
ok "make install" make -s -C "$top" install DESTDIR="$T/root" PREFIX=/usr
for f in bin/shale libexec/shale/shale-build libexec/shale/shale-transfer libexec/shale/shale-scope share/man/man1/shale.1 share/bash-completion/completions/shale share/zsh/site-functions/_shale share/fish/vendor_completions.d/shale.fish; do
	ok "installs $f" test -s "$T/root/usr/$f"
done

# Completion as the shells do it.
PATH=$T/root/usr/bin:$PATH
ok "fish: a command" fish --no-config -c "source $T/root/usr/share/fish/vendor_completions.d/shale.fish; complete -C 'shale image pru'"
is "is completed" prune "$(cat "$T/out")"
ok "fish: an image" fish --no-config -c "source $T/root/usr/share/fish/vendor_completions.d/shale.fish; complete -C 'shale rmi busy'"
has "is completed" busybox:latest
shale network create front >/dev/null
shale volume create data >/dev/null
ok "the value of an option" shale __complete -- run --rm --network ""
is "is what that takes" "bridge front host none" "$(sort "$T/out" | tr '\n' ' ' | sed 's/ $//')"
ok "and of another" shale __complete -- run -v da
is "has its own" data "$(cat "$T/out")"
ok "what the program is given" shale __complete -- run -it --name x busybox ""
is "is not known here" "" "$(cat "$T/out")"
ok "behind a value comes" shale __complete -- run --name x --network front bus
is "the image" busybox:latest "$(cat "$T/out")"
ok "no more words than it takes" shale __complete -- history busybox ""
is "are offered" "" "$(cat "$T/out")"
shale network rm front >/dev/null

cat >"$T/zsh" <<'Z'
zmodload zsh/zpty
zpty z zsh -f -i
typeset -g seen=
until_seen() { # PATTERN: reads until it is there, at most 20 s
	local part end=$((SECONDS + 20))
	while (( SECONDS < end )); do
		zpty -r -t z part && seen+=$part || sleep 0.05
		[[ $seen == *$1* ]] && return 0
	done
	return 1
}
zpty -w z "PS1=; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -d $2; bindkey '^I' complete-word; echo rea''dy"
until_seen ready || exit 1
zpty -w -n z $'shale image pru\t'
until_seen 'shale image prune' || { print -r -- "$seen"; exit 1 }
zpty -w -n z $'\C-ushale inspect --for\t'
until_seen 'inspect --format' || { print -r -- "$seen"; exit 1 }
zpty -d z
Z
ok "zsh: a command of a group, and an option" zsh -f "$T/zsh" "$T/root/usr/share/zsh/site-functions" "$T/zcompdump"
cat >"$T/bash" <<'B'
. "$1"
COMP_WORDS=(shale image pru) COMP_CWORD=2
_shale
[ "${COMPREPLY[*]}" = prune ]
B
ok "bash: the same" bash "$T/bash" "$T/root/usr/share/bash-completion/completions/shale"
no_leaks
done_testing
