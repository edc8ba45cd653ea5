# For scripts to source (sh): an agent of their own, in a directory.  BUILD says where the programs are.
# Whoever starts something ends it: agent_stop, service_stop.

# Neither gone nor a zombie.
runs() { # PID
	case $(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) in
	'' | Z | X) return 1 ;;
	esac
}

# SIGTERM, and SIGKILL when that takes longer than 10 s.
end_by_pid() { # PIDFILE
	[ -s "$1" ] || return 0
	local pid tries=0
	pid=$(cat "$1")
	rm -f "$1"
	kill "$pid" 2>/dev/null || return 0
	while runs "$pid" && [ $tries -lt 100 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	if runs "$pid"; then
		echo "${1##*/}: pid $pid had to be killed"
		kill -KILL "$pid" || true
	fi
	wait "$pid" 2>/dev/null || true
}

# godiagd with DIR/policy.yaml; its state, sockets and log are in DIR too.
agent_start() { # DIR
	local tries=0
	"$BUILD/godiagd" --config "$1/policy.yaml" --state "$1/state" --run "$1/run" --foreground \
		</dev/null >>"$1/godiagd.log" 2>&1 &
	echo $! >"$1/godiagd.pid"
	while ! agent_await "$1" 1 .version; do
		tries=$((tries + 1))
		if [ $tries -eq 10 ] || ! runs "$(cat "$1/godiagd.pid")"; then
			echo "godiagd did not come up:"
			tail -n 20 "$1/godiagd.log"
			return 1
		fi
	done
}

# Prints a new token for the hook and puts its hash into DIR/hook.tokens.
agent_token() { # DIR NAME
	local token
	token=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
	echo "$2 $(printf '%s' "$token" | sha256sum | cut -d' ' -f1)" >>"$1/hook.tokens"
	chmod 600 "$1/hook.tokens"
	echo "$token"
}

# The hook, with DIR/hook.tokens; it listens where the policy says.
agent_hook() { # DIR
	"$BUILD/godiag-hook" --agent "$1/run/hook" --tokens "$1/hook.tokens" \
		</dev/null >>"$1/hook.log" 2>&1 &
	echo $! >"$1/hook.pid"
	agent_await "$1" 5 .hook || {
		echo "the hook did not connect:"
		tail -n 20 "$1/hook.log"
		return 1
	}
}

# Without the package there is no account for it, and as nobody it could neither come back to an agent
# that was restarted nor write into a store of root's: it stays uid 0, without root's capabilities.
agent_upload() { # DIR
	setpriv --bounding-set=-setuid,-setgid "$BUILD/godiag-upload" --agent "$1/run/upload" \
		</dev/null >>"$1/upload.log" 2>&1 &
	echo $! >"$1/upload.pid"
	agent_await "$1" 5 .uploader || {
		echo "the uploader did not connect:"
		tail -n 20 "$1/upload.log"
		return 1
	}
}

agent_stop() { # DIR
	end_by_pid "$1/hook.pid"
	end_by_pid "$1/upload.pid"
	end_by_pid "$1/godiagd.pid"
}

agent_kill() { # DIR
	kill -KILL "$(cat "$1/godiagd.pid")"
	wait "$(cat "$1/godiagd.pid")" 2>/dev/null || true
	rm -f "$1/godiagd.pid"
}

agent_status() { # DIR: JSON; exit 4 only means that it knows of problems
	"$BUILD/godiag" status --run "$1/run" --json || [ $? = 4 ]
}

# Until this is true of its status; 1: it did not become so.
agent_await() { # DIR SECONDS JQ
	local tries=0
	while ! agent_status "$1" 2>/dev/null | jq -e "$3" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt $(($2 * 20)) ] || return 1
		sleep 0.05
	done
}

# The sample service, built as DIR/checkout before; its address is in DIR/service.url.
service_start() { # DIR [ARGUMENT...]
	local dir=$1 tries=0
	shift
	"$dir/checkout" "$@" </dev/null >"$dir/service.log" 2>&1 &
	echo $! >"$dir/service.pid"
	while ! grep -q '^ready' "$dir/service.log" && [ $tries -lt 100 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	sed -n 's/^ready [0-9]* //p' "$dir/service.log" >"$dir/service.url"
	[ -s "$dir/service.url" ]
}

service_stop() { # DIR
	end_by_pid "$1/service.pid"
}
