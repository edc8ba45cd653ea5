#!/bin/bash
# Prometheus and Alertmanager as Debian packages them, on loopback, for as long as a test needs them.
# Nothing is installed and no daemon of the machine is started: the packages are downloaded with apt and
# unpacked, once.
#
#   neighbours.sh fetch PACKAGES           downloads into PACKAGES unless they are there; 77: cannot
#   neighbours.sh port                     prints a free TCP port of loopback
#   neighbours.sh start PACKAGES DIR       starts both, with what lies in DIR:
#       scrape   "NAME HOST:PORT" lines: jobs to scrape once a second
#       rules    alerting rules, a file as Prometheus reads it
#       hook     the URL that alerts are posted to
#       token    the bearer token they are posted with
#                ready when both answer; DIR/prometheus and DIR/alertmanager then hold their URLs
#   neighbours.sh alert DIR NAME [LABEL=VALUE...]      posts an alert to Alertmanager
#   neighbours.sh resolve DIR NAME [LABEL=VALUE...]    and ends it
#   neighbours.sh stop DIR
#
# Everything goes through at once: group_wait 0, group_interval 1 s, rules evaluated each second.
set -eu

die() {
	echo "neighbours: $*" >&2
	exit 1
}

fetch() { # PACKAGES
	local packages=$1
	[ ! -x "$packages/usr/bin/prometheus-alertmanager" ] || return 0
	command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
		echo "skipped: no apt here to fetch Prometheus and Alertmanager with"
		exit 77
	}
	mkdir -p "$packages"
	# Tests that run beside each other want it at the same time.
	exec 9>"$packages/lock"
	flock 9
	[ ! -x "$packages/usr/bin/prometheus-alertmanager" ] || return 0
	local new
	new=$(mktemp -d "$packages/new.XXXXXX")
	(cd "$new" && apt-get -q download prometheus prometheus-alertmanager) >"$packages/log" 2>&1 || {
		rm -rf "$new"
		echo "skipped: Prometheus and Alertmanager could not be fetched: $(tail -n 1 "$packages/log")"
		exit 77
	}
	# Alertmanager's goes last: it is what the first line looks for.
	for deb in "$new"/prometheus_*.deb "$new"/prometheus-alertmanager_*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -xf - -C "$packages" ./usr
	done
	rm -rf "$new"
}

# Below the range that the kernel gives to outgoing connections.
free_port() {
	local port
	for _ in $(seq 100); do
		port=$((10000 + (RANDOM * 32768 + RANDOM) % 20000))
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || {
			echo "$port"
			return
		}
	done
	die "no free port on loopback"
}

write_configuration() { # DIR
	local dir=$1 name address
	{
		cat <<-END
			global:
			  scrape_interval: 1s
			  scrape_timeout: 1s
			  evaluation_interval: 1s
			rule_files: [$dir/rules]
			alerting:
			  alertmanagers:
			    - static_configs:
			        - targets: [127.0.0.1:$alertmanager_port]
			scrape_configs:
		END
		while read -r name address; do
			printf "  - job_name: %s\n    static_configs:\n      - targets: ['%s']\n" "$name" "$address"
		done <"$dir/scrape"
	} >"$dir/prometheus.yml"
	cat >"$dir/alertmanager.yml" <<-END
		route:
		  receiver: godiag
		  group_by: [alertname, instance]
		  group_wait: 0s
		  group_interval: 1s
		  repeat_interval: 1h
		receivers:
		  - name: godiag
		    webhook_configs:
		      - url: $(cat "$dir/hook")
		        send_resolved: true
		        max_alerts: 10
		        http_config:
		          authorization: { type: Bearer, credentials: '$(cat "$dir/token")' }
	END
}

# Alertmanager wants its templates where it was compiled to find them, so it gets a /usr/share of its own.
start_alertmanager() { # PACKAGES DIR
	local own=-m
	[ "$(id -u)" -eq 0 ] || own=-rm
	# shellcheck disable=SC2016
	setsid unshare $own sh -c '
		mount -t tmpfs none /usr/share && mkdir /usr/share/prometheus &&
		mount --bind "$1/usr/share/prometheus" /usr/share/prometheus && shift && exec "$@"' \
		sh "$1" "$1/usr/bin/prometheus-alertmanager" --config.file="$2/alertmanager.yml" \
		--storage.path="$2/alertmanager-data" --cluster.listen-address= \
		--web.listen-address="127.0.0.1:$alertmanager_port" </dev/null >"$2/alertmanager.log" 2>&1 &
	echo $! >"$2/alertmanager.pid"
}

start_prometheus() { # PACKAGES DIR
	setsid "$1/usr/bin/prometheus" --config.file="$2/prometheus.yml" \
		--storage.tsdb.path="$2/prometheus-data" --log.level=warn \
		--web.listen-address="127.0.0.1:$prometheus_port" </dev/null >"$2/prometheus.log" 2>&1 &
	echo $! >"$2/prometheus.pid"
}

wait_for() { # NAME PORT DIR
	for _ in $(seq 150); do
		if curl -fsS -o /dev/null "http://127.0.0.1:$2/-/ready" 2>/dev/null; then
			echo "http://127.0.0.1:$2" >"$3/$1"
			return
		fi
		kill -0 "$(cat "$3/$1.pid")" 2>/dev/null || break
		sleep 0.1
	done
	tail -n 5 "$3/$1.log" >&2
	stop "$3"
	die "$1 did not become ready"
}

start() { # PACKAGES DIR
	local packages dir
	packages=$(cd "$1" && pwd)
	dir=$(cd "$2" && pwd)
	alertmanager_port=$(free_port)
	prometheus_port=$(free_port)
	write_configuration "$dir"
	start_alertmanager "$packages" "$dir"
	start_prometheus "$packages" "$dir"
	wait_for alertmanager "$alertmanager_port" "$dir"
	wait_for prometheus "$prometheus_port" "$dir"
}

stop() { # DIR
	local name pid
	for name in prometheus alertmanager; do
		[ -s "$1/$name.pid" ] || continue
		pid=$(cat "$1/$name.pid")
		kill "$pid" 2>/dev/null || true
		for _ in $(seq 50); do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.1
		done
		kill -KILL "$pid" 2>/dev/null || true
		rm -f "$1/$name.pid"
	done
}

post() { # DIR ENDS NAME [LABEL=VALUE...]
	local dir=$1 ends=$2 labels label
	labels="\"alertname\":\"$3\""
	shift 3
	for label; do
		labels="$labels,\"${label%%=*}\":\"${label#*=}\""
	done
	curl -fsS -o /dev/null -H 'Content-Type: application/json' \
		-d "[{\"labels\":{$labels}${ends:+,\"endsAt\":\"$ends\"}}]" \
		"$(cat "$dir/alertmanager")/api/v2/alerts"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
fetch) fetch "$1" ;;
port) free_port ;;
start) start "$1" "$2" ;;
alert) post "$1" '' "${@:2}" ;;
resolve) post "$1" "$(date -u -d '1 second ago' +%Y-%m-%dT%H:%M:%SZ)" "${@:2}" ;;
stop) stop "$1" ;;
*)
	sed -n '2,20s/^# \{0,1\}//p' "$0"
	exit 1
	;;
esac
