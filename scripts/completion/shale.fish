# SPDX-License-Identifier: Apache-2.0
# fish completion: shale itself knows what can come next.
function __shale_complete
	set -l words (commandline -opc) (commandline -ct)
	shale __complete -- $words[2..-1] 2>/dev/null
end
complete -c shale -a '(__shale_complete)'
