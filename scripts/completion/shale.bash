# SPDX-License-Identifier: Apache-2.0
# bash completion: shale itself knows what can come next.
_shale()
{
	local line words=("${COMP_WORDS[@]:1:COMP_CWORD}")

	COMPREPLY=()
	while IFS= read -r line; do
		COMPREPLY+=("$line")
	done < <(shale __complete -- "${words[@]}" 2>/dev/null)
	# NAME:TAG is three words to bash, which replaces the last only.
	if declare -F __ltrim_colon_completions >/dev/null; then
		__ltrim_colon_completions "${COMP_WORDS[COMP_CWORD]}"
	fi
}
complete -o default -F _shale shale
