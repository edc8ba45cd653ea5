# The architecture as a test: which folder may include which (docs/architecture.md), that includes
# name folder and file, and that only agent/ and cli/ log above debug.  Reads all .c and .h files.

BEGIN {
	# folder: folders on lower floors it may include; itself always
	may["base"] = ""
	may["target"] = "base"
	may["archive"] = "base"
	may["policies"] = "base"
	may["golang"] = "base target"
	may["freeze"] = "base target"
	may["uploader"] = "base archive"
	may["report"] = "base archive golang" # what names of the runtime's functions mean
	may["collectors"] = "base target golang" # not archive: they write to base/sink.h
	may["agent"] = "base target archive policies golang freeze uploader report collectors"
	may["cli"] = may["agent"] # and the doors below
	may["tests"] = may["agent"] " agent cli"
	# what cli/ may know of the agent
	door["agent/agent.h"] = door["agent/capture.h"] = door["agent/control.h"] = 1
	door["agent/hook.h"] = door["agent/hook_tokens.h"] = door["agent/upload.h"] = 1
	door["agent/exit.h"] = door["agent/host.h"] = door["agent/host_check.h"] = 1
}

function complain(what)
{
	printf "%s:%d: %s\n", FILENAME, FNR, what
	bad = 1
}

function allowed(from, to, header,    list, n, i)
{
	if (from == to || (from == "cli" && header in door))
		return 1
	n = split(may[from], list, " ")
	for (i = 1; i <= n; i++)
		if (list[i] == to)
			return 1
	return 0
}

FNR == 1 {
	split(FILENAME, path, "/")
	folder = path[1]
	pending = 0
	if (!(folder in may))
		complain("folder " folder "/ has no floor in tests/layers.awk")
}

/^[ \t]*#[ \t]*include[ \t]*["<]/ {
	header = $0
	sub(/^[^"<]*["<]/, "", header)
	sub(/[">].*/, "", header)
	split(header, part, "/")
	if ($0 ~ /<[^>]*>/ && !(part[1] in may && header ~ /\//))
		next
	if (!(part[1] in may) || header !~ /\//)
		complain("include \"" header "\" as \"folder/file.h\"")
	else if (!allowed(folder, part[1], header))
		complain(folder "/ may not include " header)
}

# Below agent/ the level of every gd_log is GD_LOG_DEBUG; it may stand on the next line.
folder != "agent" && folder != "cli" && folder != "tests" && FILENAME !~ /^base\/log\./ {
	rest = (pending ? "gd_log(" : "") $0
	pending = 0
	while (match(rest, /gd_log\([ \t]*/)) {
		rest = substr(rest, RSTART + RLENGTH)
		if (rest == "")
			pending = 1
		else if (rest !~ /^GD_LOG_DEBUG/)
			complain("only agent/ and cli/ log above debug; return an error instead")
	}
}

END { exit bad }
