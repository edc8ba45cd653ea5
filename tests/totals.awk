# Reads the logs of all tests and prints what passed, failed and was skipped.  cmocka's TAP lines
# count one each; a log without any counts as one test, by its exit code (0 passed, 77 skipped).
# A binary that died without a failed test of its own (crash, sanitizer, timeout) is one failure.

function name(file)
{
	sub(/.*\//, "", file)
	sub(/\.log$/, "", file)
	return file
}

function finish()
{
	if (file == "")
		return
	binaries++
	if (code == 0 && cases == 0)
		passed++
	else if (code == 77 && cases == 0) {
		skipped++
		skips[++n_skips] = name(file) ": " (reason != "" ? reason : "no reason given")
	} else if (code != 0 && bad == 0) {
		failed++
		failures[++n_failures] = name(file) ": exit " code
	}
}

FNR == 1 {
	finish()
	file = FILENAME
	cases = bad = 0
	code = "unknown"
	reason = ""
}

/^# exit [0-9]+$/ { code = $3; next }
/^(# )?skip(ped)?: / { reason = $0; sub(/^[^:]*: /, "", reason) }
# "not ok 2 # SKIP name" (cmocka 1.1.5) or "ok 2 # SKIP name"
/^(not )?ok [0-9]+ # SKIP/ {
	cases++
	skipped++
	skips[++n_skips] = name(file) ": " $NF ": " (reason != "" ? reason : "no reason given")
	reason = ""
	next
}
/^ok [0-9]+/ { cases++; passed++; reason = "" }
/^not ok [0-9]+/ {
	cases++
	bad++
	failed++
	failures[++n_failures] = name(file) ": " substr($0, index($0, "- ") + 2)
}

END {
	finish()
	for (i = 1; i <= n_skips; i++)
		print "skipped  " skips[i]
	for (i = 1; i <= n_failures; i++)
		print "FAILED   " failures[i]
	printf "%d test programs\n", binaries
	printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
	exit failed > 0
}
