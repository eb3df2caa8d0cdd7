# SPDX-License-Identifier: Apache-2.0
# Order of includes: the module's own header may come first and alone; in a group names are sorted; shale's headers do not
# share a group with others.
function base(line)
{
	gsub(/^#include[ \t]*[<"]|[>"].*$/, "", line)
	return line
}
function is_ours(line)
{
	return line ~ /<shale\// || line ~ /"/
}
/^#include/ {
	if (in_group) {
		if (is_ours($0) != is_ours(last))
			print FILENAME ":" FNR ": blank line missing between groups"
		else if (substr($2, 1, 1) == substr(last_word, 1, 1) && base($0) < base(last))
			print FILENAME ":" FNR ": " base($0) " comes before " base(last)
	}
	in_group = 1
	last = $0
	last_word = $2
	next
}
{ in_group = 0 }
