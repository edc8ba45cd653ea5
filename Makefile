# godiag.  One Makefile; the lists below are the table of contents.
#
#   make              build/godiag and build/godiag-capture
#   make check        every test; totals in the last line      TEST_SECONDS=600 at most for each
#   make demo         capture a sample service, or PID=N       make bench: us and our peers in figures
#   make demo-alert   the same by itself: Prometheus, Alertmanager, the agent and a service that gets slow
#   make install      prefix=/usr/local DESTDIR=               uninstall
#   make deb          a Debian package for the machine that builds it
#   make soak         2,000 captures with kills                SOAK=2000
#   make torture      1,000 kills of whoever stops a target    TORTURE=1000
#   make boot         the package and its units under a systemd of their own, in namespaces
#   make layers symbols headers analyze tidy units             the architecture, names, headers, gcc's
#                     analyzer, clang-tidy on what changed SINCE=HEAD~1, the units' exposure
#   make fuzz         every fuzzer for FUZZ_SECONDS=30         FUZZ="manifest pclntab"
#   make victims layout clean help
#
#   with  BUILD=build SAN=address,undefined CC=clang WERROR=1 V=1
#         FOLDERS="base target"   only these folders and their tests
#         VICTIMS=build/victims   the programs that tests look at, shared by all builds

VERSION := 0.1.0

# ---- what there is (floors of docs/architecture.md, lowest first) -------------------------------

base := \
	base/buf.c \
	base/clock.c \
	base/crc32c.c \
	base/error.c \
	base/io.c \
	base/journal.c \
	base/json.c \
	base/log.c \
	base/message.c \
	base/notify.c \
	base/sink.c \
	base/sm.c \
	base/text.c \
	base/units.c

target := \
	target/access.c \
	target/btf.c \
	target/build_id.c \
	target/cgroup.c \
	target/container.c \
	target/identity.c \
	target/image.c \
	target/image_read.c \
	target/image_space.c \
	target/mapped_elf.c \
	target/maps.c \
	target/memory.c \
	target/memory_bytes.c \
	target/memory_image.c \
	target/memory_live.c \
	target/perf_event.c \
	target/perf_program.c \
	target/sockets.c \
	target/stat.c \
	target/target.c \
	target/threads.c \
	target/touched.c

archive := \
	archive/archive.c \
	archive/content.c \
	archive/core_base.c \
	archive/core_elf.c \
	archive/core_elf_layout.c \
	archive/core_map.c \
	archive/core_map_parse.c \
	archive/core_read.c \
	archive/digest.c \
	archive/documents.c \
	archive/extract.c \
	archive/layout.c \
	archive/layout_parse.c \
	archive/output.c \
	archive/pack.c \
	archive/reader.c \
	archive/recover.c \
	archive/repair.c \
	archive/snapshot.c \
	archive/snapshot_parse.c \
	archive/staging.c \
	archive/tarfile_read.c \
	archive/tarfile_write.c \
	archive/verify.c \
	archive/verify_core.c

policies := \
	policies/admission.c \
	policies/admission_checks.c \
	policies/admission_history.c \
	policies/admission_record.c \
	policies/admission_state.c \
	policies/document.c \
	policies/engine.c \
	policies/engine_machine.c \
	policies/engine_why.c \
	policies/finding.c \
	policies/match.c \
	policies/metric.c \
	policies/nearest.c \
	policies/policy.c \
	policies/policy_files.c \
	policies/policy_host.c \
	policies/policy_reader.c \
	policies/policy_rule.c \
	policies/policy_service.c \
	policies/policy_value.c \
	policies/policy_when.c \
	policies/policy_words.c \
	policies/replay.c \
	policies/replay_line.c \
	policies/replay_processes.c \
	policies/replay_queue.c \
	policies/sampling.c

golang := \
	golang/arguments.c \
	golang/buildinfo.c \
	golang/calibrate.c \
	golang/calibrate_g.c \
	golang/calibrate_m.c \
	golang/class.c \
	golang/exectrace.c \
	golang/frames.c \
	golang/funcname.c \
	golang/gather.c \
	golang/gauges.c \
	golang/gauges_window.c \
	golang/globals.c \
	golang/go_version.c \
	golang/godebug.c \
	golang/goroutines.c \
	golang/grecord.c \
	golang/histogram.c \
	golang/inltree.c \
	golang/labels.c \
	golang/layout.c \
	golang/memstats.c \
	golang/moduledata.c \
	golang/operands.c \
	golang/pacer.c \
	golang/pclntab.c \
	golang/profile.c \
	golang/program.c \
	golang/reference.c \
	golang/running.c \
	golang/runtime.c \
	golang/scheduler.c \
	golang/shapes.c \
	golang/shapes_scan.c \
	golang/spans.c \
	golang/stats.c \
	golang/symbols.c \
	golang/ticks.c \
	golang/traceback.c \
	golang/traceback_site.c \
	golang/unwind.c

freeze := \
	freeze/facts.c \
	freeze/facts_cgroup.c \
	freeze/facts_dumpable.c \
	freeze/facts_memory.c \
	freeze/fork_copy.c \
	freeze/freeze.c \
	freeze/guard.c \
	freeze/huge.c \
	freeze/inject.c \
	freeze/inject_begin.c \
	freeze/inject_frame_x86_64.c \
	freeze/inject_site.c \
	freeze/kernel.c \
	freeze/pagemap.c \
	freeze/plan.c \
	freeze/plan_guards.c \
	freeze/plan_predict.c \
	freeze/plan_put.c \
	freeze/precopy.c \
	freeze/reap.c \
	freeze/stop.c \
	freeze/stop_copy.c \
	freeze/stopped.c \
	freeze/stopped_apply.c \
	freeze/stopped_scan.c \
	freeze/torn.c \
	freeze/tracer.c \
	freeze/tracer_registers_x86_64.c \
	freeze/track_soft_dirty.c \
	freeze/track_uffd.c \
	freeze/wanted.c

uploader := \
	uploader/address.c \
	uploader/backoff.c \
	uploader/credentials.c \
	uploader/digest.c \
	uploader/directory.c \
	uploader/place.c \
	uploader/retention.c \
	uploader/s3.c \
	uploader/sigv4.c \
	uploader/spool.c \
	uploader/spool_examine.c \
	uploader/spool_lines.c \
	uploader/spool_open.c \
	uploader/spool_prune.c \
	uploader/spool_recover.c \
	uploader/spool_state.c \
	uploader/transfer.c \
	uploader/uploader.c
report := \
	report/cpu.c \
	report/facts.c \
	report/facts_runtime.c \
	report/flame.c \
	report/flame_folded.c \
	report/flame_page.c \
	report/flame_profiles.c \
	report/flame_speedscope.c \
	report/groups.c \
	report/heap.c \
	report/instant.c \
	report/lines.c \
	report/places.c \
	report/pprof_read.c \
	report/scan.c \
	report/show.c \
	report/show_json.c \
	report/sites.c \
	report/stacks.c \
	report/standard.c \
	report/summary.c \
	report/syscalls.c \
	report/timeline.c \
	report/timeline_text.c \
	report/tuples.c \
	report/warnings.c \
	report/words.c

collectors := \
	collectors/build.c \
	collectors/cfi_entry.c \
	collectors/cfi_row.c \
	collectors/cfi_scan.c \
	collectors/collector.c \
	collectors/contention.c \
	collectors/core.c \
	collectors/core_notes.c \
	collectors/debug_port.c \
	collectors/goroutines.c \
	collectors/goroutines_lines.c \
	collectors/goroutines_profile.c \
	collectors/heap.c \
	collectors/known.c \
	collectors/kernel_symbols.c \
	collectors/locations.c \
	collectors/native_symbols.c \
	collectors/native_unwind.c \
	collectors/perf_record.c \
	collectors/perf_ring.c \
	collectors/perf_sampler.c \
	collectors/perf_stack.c \
	collectors/pprof.c \
	collectors/proc.c \
	collectors/proc_cgroup.c \
	collectors/proc_cpu.c \
	collectors/proc_fds.c \
	collectors/proc_files.c \
	collectors/proc_host.c \
	collectors/proc_identity.c \
	collectors/proc_net.c \
	collectors/proc_redact.c \
	collectors/proc_sockets.c \
	collectors/proc_threads.c \
	collectors/registers.c \
	collectors/runtime.c \
	collectors/samples.c \
	collectors/samples_cgo.c \
	collectors/samples_facts.c \
	collectors/samples_goroutine.c \
	collectors/samples_places.c \
	collectors/samples_profile.c \
	collectors/samples_switches.c \
	collectors/samples_syscalls.c \
	collectors/samples_take.c \
	collectors/samples_timeline.c

agent := \
	agent/agent.c \
	agent/ask.c \
	agent/baselines.c \
	agent/capture.c \
	agent/capture_image.c \
	agent/capture_steps.c \
	agent/capture_window.c \
	agent/captures.c \
	agent/compressor.c \
	agent/compressor_process.c \
	agent/connector.c \
	agent/control.c \
	agent/control_ask.c \
	agent/debug_http.c \
	agent/debug_listeners.c \
	agent/debug_port.c \
	agent/debug_port_client.c \
	agent/debug_port_facts.c \
	agent/exporter.c \
	agent/exposition.c \
	agent/footprint.c \
	agent/freezer.c \
	agent/grant.c \
	agent/hook.c \
	agent/hook_alerts.c \
	agent/hook_auth.c \
	agent/hook_counts.c \
	agent/hook_head.c \
	agent/hook_http.c \
	agent/hook_link.c \
	agent/hook_listen.c \
	agent/hook_lobby.c \
	agent/hook_peer.c \
	agent/hook_request.c \
	agent/hook_server.c \
	agent/hook_sockets.c \
	agent/hook_table.c \
	agent/hook_tokens.c \
	agent/hook_triggers.c \
	agent/host.c \
	agent/host_check.c \
	agent/id.c \
	agent/loop.c \
	agent/operations.c \
	agent/packer.c \
	agent/packer_order.c \
	agent/packer_process.c \
	agent/packer_sink.c \
	agent/parser.c \
	agent/parser_order.c \
	agent/parser_ranges.c \
	agent/peers.c \
	agent/plan.c \
	agent/ranges.c \
	agent/reload.c \
	agent/request.c \
	agent/role.c \
	agent/role_landlock.c \
	agent/role_privileges.c \
	agent/role_seccomp.c \
	agent/run.c \
	agent/scraper.c \
	agent/scraper_list.c \
	agent/status.c \
	agent/subject.c \
	agent/timeline.c \
	agent/triggers.c \
	agent/upload.c \
	agent/upload_examine.c \
	agent/upload_peer.c \
	agent/watch_ask.c \
	agent/watch_cgroup.c \
	agent/watch_discover.c \
	agent/watch_facts.c \
	agent/watch_file.c \
	agent/watch_find.c \
	agent/watch_go.c \
	agent/watch_grant.c \
	agent/watch_loop.c \
	agent/watch_place.c \
	agent/watch_ports.c \
	agent/watch_process.c \
	agent/watch_psi.c \
	agent/watch_trigger.c \
	agent/watched.c \
	agent/watcher.c \
	agent/watching.c

# Everything of cli/ but its main.c.
cli := \
	cli/agent.c \
	cli/archive.c \
	cli/capture.c \
	cli/capture_agent.c \
	cli/capture_plan.c \
	cli/capture_request.c \
	cli/check.c \
	cli/check_replay.c \
	cli/doctor.c \
	cli/doctor_agent.c \
	cli/doctor_say.c \
	cli/enable.c \
	cli/extract.c \
	cli/extract_core.c \
	cli/hook.c \
	cli/list.c \
	cli/prune.c \
	cli/report.c \
	cli/show.c \
	cli/status.c \
	cli/upload.c \
	cli/verify.c

# The mains.  godiag-capture is the same binary under another name.
main := cli/main.c

# One binary per source file: tests/test_<folder>_<file>.c
tests := \
	tests/test_agent_baselines.c \
	tests/test_agent_capture.c \
	tests/test_agent_capture_hostile.c \
	tests/test_agent_connector.c \
	tests/test_agent_control.c \
	tests/test_agent_debug_port.c \
	tests/test_agent_debug_port_hostile.c \
	tests/test_agent_exposition.c \
	tests/test_agent_footprint.c \
	tests/test_agent_grant.c \
	tests/test_agent_hook.c \
	tests/test_agent_hook_alerts.c \
	tests/test_agent_hook_attack.c \
	tests/test_agent_hook_auth.c \
	tests/test_agent_hook_listen.c \
	tests/test_agent_hook_peer.c \
	tests/test_agent_operations.c \
	tests/test_agent_packer.c \
	tests/test_agent_parser.c \
	tests/test_agent_ranges.c \
	tests/test_agent_request.c \
	tests/test_agent_role.c \
	tests/test_agent_scraper.c \
	tests/test_agent_timeline.c \
	tests/test_agent_upload.c \
	tests/test_agent_upload_examine.c \
	tests/test_agent_upload_peer.c \
	tests/test_agent_watch_cgroup.c \
	tests/test_agent_watch_discover.c \
	tests/test_agent_watch_facts.c \
	tests/test_agent_watch_process.c \
	tests/test_agent_watch_psi.c \
	tests/test_agent_watch_trigger.c \
	tests/test_agent_watched.c \
	tests/test_agent_watcher.c \
	tests/test_archive_archive.c \
	tests/test_archive_core_base.c \
	tests/test_archive_core_elf.c \
	tests/test_archive_core_faults.c \
	tests/test_archive_core_map.c \
	tests/test_archive_extract.c \
	tests/test_archive_faults.c \
	tests/test_archive_output.c \
	tests/test_archive_pack.c \
	tests/test_archive_snapshot.c \
	tests/test_archive_verify.c \
	tests/test_base_buf.c \
	tests/test_base_bytes.c \
	tests/test_base_clock.c \
	tests/test_base_crc32c.c \
	tests/test_base_error.c \
	tests/test_base_io.c \
	tests/test_base_journal.c \
	tests/test_base_json.c \
	tests/test_base_log.c \
	tests/test_base_message.c \
	tests/test_base_notify.c \
	tests/test_base_sink.c \
	tests/test_base_sm.c \
	tests/test_base_text.c \
	tests/test_base_units.c \
	tests/test_cli_capture.c \
	tests/test_cli_check.c \
	tests/test_cli_extract.c \
	tests/test_cli_upload.c \
	tests/test_collectors_build.c \
	tests/test_collectors_contention.c \
	tests/test_collectors_core.c \
	tests/test_collectors_core_notes.c \
	tests/test_collectors_goroutines.c \
	tests/test_collectors_goroutines_faults.c \
	tests/test_collectors_heap.c \
	tests/test_collectors_kernel_symbols.c \
	tests/test_collectors_known.c \
	tests/test_collectors_native_symbols.c \
	tests/test_collectors_native_unwind.c \
	tests/test_collectors_perf_record.c \
	tests/test_collectors_perf_sampler.c \
	tests/test_collectors_pprof.c \
	tests/test_collectors_proc.c \
	tests/test_collectors_proc_cgroup.c \
	tests/test_collectors_proc_net.c \
	tests/test_collectors_proc_redact.c \
	tests/test_collectors_registers.c \
	tests/test_collectors_runtime.c \
	tests/test_collectors_samples.c \
	tests/test_collectors_samples_switches.c \
	tests/test_freeze_facts.c \
	tests/test_freeze_inject.c \
	tests/test_freeze_kill.c \
	tests/test_freeze_plan.c \
	tests/test_freeze_pagemap.c \
	tests/test_freeze_run.c \
	tests/test_freeze_stop.c \
	tests/test_golang_arguments.c \
	tests/test_golang_buildinfo.c \
	tests/test_golang_calibrate.c \
	tests/test_golang_class.c \
	tests/test_golang_exectrace.c \
	tests/test_golang_funcname.c \
	tests/test_golang_gather.c \
	tests/test_golang_gauges.c \
	tests/test_golang_gauges_window.c \
	tests/test_golang_globals.c \
	tests/test_golang_go_version.c \
	tests/test_golang_godebug.c \
	tests/test_golang_goroutines.c \
	tests/test_golang_histogram.c \
	tests/test_golang_inltree.c \
	tests/test_golang_labels.c \
	tests/test_golang_layout.c \
	tests/test_golang_memstats.c \
	tests/test_golang_moduledata.c \
	tests/test_golang_operands.c \
	tests/test_golang_pacer.c \
	tests/test_golang_pclntab.c \
	tests/test_golang_profile.c \
	tests/test_golang_program.c \
	tests/test_golang_reference.c \
	tests/test_golang_running.c \
	tests/test_golang_runtime.c \
	tests/test_golang_scheduler.c \
	tests/test_golang_shapes.c \
	tests/test_golang_stats.c \
	tests/test_golang_symbols.c \
	tests/test_golang_ticks.c \
	tests/test_golang_traceback.c \
	tests/test_golang_unwind.c \
	tests/test_policies_admission.c \
	tests/test_policies_document.c \
	tests/test_policies_engine.c \
	tests/test_policies_faults.c \
	tests/test_policies_match.c \
	tests/test_policies_metric.c \
	tests/test_policies_policy.c \
	tests/test_policies_replay.c \
	tests/test_policies_sampling.c \
	tests/test_report_cpu.c \
	tests/test_report_flame.c \
	tests/test_report_flame_faults.c \
	tests/test_report_flame_page.c \
	tests/test_report_groups.c \
	tests/test_report_heap.c \
	tests/test_report_pprof_read.c \
	tests/test_report_scan.c \
	tests/test_report_show.c \
	tests/test_report_timeline.c \
	tests/test_report_tuples.c \
	tests/test_target_btf.c \
	tests/test_target_build_id.c \
	tests/test_target_cgroup.c \
	tests/test_target_container.c \
	tests/test_target_identity.c \
	tests/test_target_image.c \
	tests/test_target_mapped_elf.c \
	tests/test_target_maps.c \
	tests/test_target_memory.c \
	tests/test_target_sockets.c \
	tests/test_target_stat.c \
	tests/test_target_target.c \
	tests/test_target_threads.c \
	tests/test_target_touched.c \
	tests/test_uploader_address.c \
	tests/test_uploader_backoff.c \
	tests/test_uploader_credentials.c \
	tests/test_uploader_place.c \
	tests/test_uploader_retention.c \
	tests/test_uploader_sigv4.c \
	tests/test_uploader_spool.c \
	tests/test_uploader_spool_faults.c \
	tests/test_uploader_spool_kill.c \
	tests/test_uploader_transfer.c \
	tests/test_uploader_uploader.c

# Tests which make the n-th malloc, read, write... fail: linked with tests/fault.c (see tests/fault.h).
fault_tests := \
	tests/test_archive_core_faults.c \
	tests/test_archive_faults.c \
	tests/test_base_buf.c \
	tests/test_base_io.c \
	tests/test_base_journal.c \
	tests/test_collectors_goroutines_faults.c \
	tests/test_policies_admission.c \
	tests/test_policies_faults.c \
	tests/test_report_flame_faults.c \
	tests/test_uploader_spool_faults.c

# What tests are linked with.
harness := tests/test.c tests/victim.c

# What tests of golang/ are linked with as well: Go victims as targets, a Go module made up in memory.
go_harness := tests/go_image.c tests/go_target.c

# Collectors against what Go programs say of themselves, in every release and variant.
truths := \
	tests/truth_goroutines.c \
	tests/truth_heap.c \
	tests/truth_minutes.c \
	tests/truth_sigquit.c

# What compares collectors with what a process says of itself.
truth := tests/kept.c tests/loopback.c tests/pprof_lines.c tests/stacks.c tests/stacks_compare.c \
	tests/truth.c tests/truth_stacks.c

# And what some of them share.
shared := tests/archives.c tests/cores.c tests/fault.c tests/freeze_faults.c tests/freeze_victim.c \
	tests/hook_world.c tests/parser_faults.c tests/profiles.c tests/s3_server.c tests/series.c tests/spools.c

# Scripts around the real programs: exit 0 passed, 77 skipped.
integration := \
	tests/integration/agent.sh \
	tests/integration/agent_core.sh \
	tests/integration/alert.sh \
	tests/integration/archive_by_hand.sh \
	tests/integration/archive_damage.sh \
	tests/integration/core.sh \
	tests/integration/core_bad.sh \
	tests/integration/core_kill.sh \
	tests/integration/core_truth.sh \
	tests/integration/debug_port.sh \
	tests/integration/demo.sh \
	tests/integration/demo_alert.sh \
	tests/integration/flame.sh \
	tests/integration/install.sh \
	tests/integration/kill.sh \
	tests/integration/samples.sh \
	tests/integration/soak.sh \
	tests/integration/storm.sh \
	tests/integration/unit.sh \
	tests/integration/units.sh

# Programs with a known state for tests to look at: tests/victims/<name>.c, and tests/victims/<name>/
# built by each Go release of tests/victims/releases.
c_victims := \
	household \
	kinds \
	life \
	native \
	pages \
	selfcheck \
	uffd
go_victims := states quiet churn symbols totals gocheck still busy profiled
# The tests that look at Go victims; only they wait for the toolchains.
go_tests := \
	tests/test_agent_parser.c \
	tests/test_agent_watcher.c \
	tests/test_collectors_contention.c \
	tests/test_collectors_heap.c \
	tests/test_collectors_runtime.c \
	tests/test_collectors_samples.c \
	tests/test_freeze_facts.c \
	tests/test_freeze_inject.c \
	tests/test_freeze_kill.c \
	tests/test_golang_buildinfo.c \
	tests/test_golang_calibrate.c \
	tests/test_golang_class.c \
	tests/test_golang_gauges.c \
	tests/test_golang_globals.c \
	tests/test_golang_inltree.c \
	tests/test_golang_memstats.c \
	tests/test_golang_moduledata.c \
	tests/test_golang_pclntab.c \
	tests/test_golang_reference.c \
	tests/test_golang_runtime.c \
	tests/test_golang_scheduler.c \
	tests/test_golang_stats.c \
	tests/test_golang_symbols.c \
	tests/test_golang_ticks.c

# tests/fuzz/fuzz_<name>.c, its inputs in tests/fuzz/corpus/<name>/
fuzzers := \
	admission_journal \
	archive \
	btf \
	build_id \
	buildinfo \
	core_map \
	exectrace \
	exposition \
	flame \
	gauges \
	globals \
	goroutine_lines \
	goroutines \
	hook_alerts \
	hook_auth \
	hook_head \
	hook_peer \
	image \
	journal \
	kernel_symbols \
	manifest \
	maps \
	native_unwind \
	pack \
	packer \
	pclntab \
	perf_record \
	policy \
	proc_text \
	profile \
	redact \
	replay \
	request \
	scheduler \
	spool_journal \
	stat \
	timeline \
	watch_text \
	watch_wire

# The same binary's other names, where they go, and what systemd starts.
names := godiag-capture godiag-hook godiag-upload
daemons := godiagd
units := \
	systemd/godiag-capture@.service \
	systemd/godiag-hook.service \
	systemd/godiag-upload.service \
	systemd/godiagd.service

# Policies to copy from; policy.yaml is what a host starts with.
examples := \
	policies/examples/batch-job.yaml \
	policies/examples/memory-limited-pod.yaml \
	policies/examples/policy.yaml \
	policies/examples/web-service.yaml

pages := docs/godiag.1 docs/godiag-capture.1 docs/godiag-report.1 docs/godiag-upload.8 docs/godiag-policy.5 docs/godiag-hook.8 docs/godiagd.8

# ---- where things go -----------------------------------------------------------------------------

BUILD ?= build
SAN ?=
V ?=
WERROR ?=

empty :=
comma := ,
define newline


endef
out := $(BUILD)$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))

# Victims are ordinary programs: built once, without our flags, shared by sanitizer and plain runs.
VICTIMS ?= $(BUILD)/victims

prefix ?= /usr/local
bindir ?= $(prefix)/bin
sbindir ?= $(prefix)/sbin
mandir ?= $(prefix)/share/man
docdir ?= $(prefix)/share/doc/godiag
sysconfdir ?= /etc
# Where systemd looks for what is not the distribution's own; a package sets prefix=/usr.
libdir ?= $(prefix)/lib
unitdir ?= $(libdir)/systemd/system
presetdir ?= $(libdir)/systemd/system-preset
sysusersdir ?= $(libdir)/sysusers.d
tmpfilesdir ?= $(libdir)/tmpfiles.d
confdir = $(sysconfdir)/godiag
DESTDIR ?=
INSTALL ?= install

folders := base target archive policies golang freeze uploader report collectors agent cli
FOLDERS ?= $(folders)
sources := $(foreach folder,$(FOLDERS),$($(folder)))
some_tests := $(foreach folder,$(FOLDERS),$(filter tests/test_$(folder)_%,$(tests)))
# A fuzzer may need any folder, and the program all of them.
whole := $(if $(filter-out $(FOLDERS),$(folders)),,yes)
some_fuzzers := $(if $(whole),$(fuzzers))
some_truths := $(if $(whole),$(truths))
links := $(names:%=$(out)/%) $(daemons:%=$(out)/%)
programs := $(if $(whole),$(if $(main),$(out)/godiag $(links)))

# ---- compiler --------------------------------------------------------------------------------------

ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS ?= -O2 -g
LDFLAGS ?=

# libunwind: a second opinion on our own unwinder.
test_packages := cmocka libunwind
packages := libdw libelf libarchive libzstd zlib libcurl libcrypto libseccomp jansson libmicrohttpd yaml-0.1

warnings := -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wundef \
	-Wvla -Wpointer-arith -Wcast-qual -Wwrite-strings -Wconversion -Wswitch-enum \
	-Wimplicit-fallthrough -Wnull-dereference
# Not every compiler and machine knows these; they are asked one by one.
probed := -Wduplicated-cond -Wlogical-op -Wuse-after-free=3 -Warray-bounds=2 \
	-ftrivial-auto-var-init=zero -fstack-clash-protection -fcf-protection

# Goals that compile nothing must work on a machine that has nothing yet.
goals := $(or $(MAKECMDGOALS),all)
ifneq ($(filter-out clean help demo demo-alert layers layout uninstall,$(goals)),)
needs := $(packages) $(if $(filter check test-programs headers analyze,$(goals)),$(test_packages))
here := $(shell pkg-config --exists $(needs) && echo yes)
# Who asks for the tests on a new machine gets what they need, once.
ifeq ($(here)$(filter check,$(goals)),check)
$(info libraries are missing, running ./setup.sh check)
here := $(shell ./setup.sh check >&2; pkg-config --exists $(needs) && echo yes)
endif
ifeq ($(here),)
$(shell pkg-config --print-errors --exists $(needs))
$(error libraries are missing: ./setup.sh installs them, and ./setup.sh check what tests need)
endif
package_cflags := $(shell pkg-config --cflags $(packages))
package_libs := $(shell pkg-config --libs $(packages)) -lm
probed := $(shell for f in $(probed); do \
	$(CC) -Werror $$f -fsyntax-only -x c /dev/null >/dev/null 2>&1 && echo "$$f"; done)
endif
# Only tests need these, so only they ask for them, once.
cmocka_libs = $(eval cmocka_libs := $$(shell pkg-config --libs $(test_packages)))$(cmocka_libs)

ifeq ($(SAN),)
harden := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong
else
sanitize := -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
endif

# Packages' headers are not ours to warn about, -I. is.
compile = $(CC) -std=gnu17 -D_GNU_SOURCE -DGD_VERSION='"$(VERSION)"' -I. $(package_cflags) \
	$(CFLAGS) -fPIE $(harden) $(sanitize) $(warnings) $(probed) $(if $(WERROR),-Werror) $(CPPFLAGS)
link = $(CC) $(CFLAGS) -pie $(sanitize) -Wl,-z,relro,-z,now,--as-needed $(LDFLAGS)

# The line that V=1 makes disappear in favour of the whole command.
say = $(if $(V),,@printf '  %-8s %s\n' $(1) '$(2)';)

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules --output-sync=target

.PHONY: all check bench demo demo-alert soak install uninstall deb units layers symbols headers analyze
.PHONY: boot tidy torture fuzz layout clean help
.PHONY: rights victims programs layout FORCE

all: $(out)/libgodiag.a $(programs)

# ---- building --------------------------------------------------------------------------------------

# A changed flag rebuilds what was made with the old one, a changed list relinks the library (ar
# would keep the object of a deleted file for ever).
define record
@mkdir -p $(@D); printf '%s\n' '$(subst ','\'',$(1))' | cmp -s - $@ || \
	printf '%s\n' '$(subst ','\'',$(1))' >$@
endef
$(out)/flags: FORCE
	$(call record,$(compile) $(link))
$(out)/objects: FORCE
	$(call record,$(sources))

$(out)/%.o: %.c $(out)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(compile) -MMD -MP -c -o $@ $<

# Compiled in; -MMD does not see what the assembler includes.
$(out)/report/flame_page.o $(out)/analyze/report/flame_page.ok: report/flame.html report/flame.css \
	report/flame_tree.js report/flame_look.js report/flame.js

$(out)/libgodiag.a: $(sources:%.c=$(out)/%.o) $(out)/objects
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $(filter %.o,$^)

$(out)/godiag: $(main:%.c=$(out)/%.o) $(out)/libgodiag.a
	$(call say,LINK,$@)$(link) -o $@ $^ $(package_libs)
$(links): $(out)/godiag
	@ln -sf godiag $@ && touch -h $@

-include $(wildcard $(out)/*/*.d $(out)/*/*/*.d)

# Offsets of Go's structs; committed, so that a build needs no more than a compiler.
layout:
	$(call say,GEN,golang/layout_table.h)awk -f golang/layout_table.awk golang/layout.h \
		golang/offsets.tsv >golang/layout_table.tmp && mv golang/layout_table.tmp golang/layout_table.h

# ---- tests -----------------------------------------------------------------------------------------

c_victim_files := $(c_victims:%=$(VICTIMS)/%)
go_victim_files := $(go_victims:%=$(VICTIMS)/%.index)
victims: $(c_victim_files) $(go_victim_files) $(VICTIMS)/native_static

# Plain flags with frame pointers left as the compiler likes them: what production code looks like.
$(c_victim_files): $(VICTIMS)/%: tests/victims/%.c
	@mkdir -p $(@D)
	$(call say,VICTIM,$<)$(CC) -std=gnu17 -D_GNU_SOURCE -O2 -g -Wall -Wextra -pthread -o $@ $< $(victim_libs)
# Code of somebody else's to be deep in.
$(VICTIMS)/native: victim_libs := -lz

# The same without libraries, and without what they need to find their call frame information; where
# there are none to link statically the test of it skips.
$(VICTIMS)/native_static: tests/victims/native.c
	@mkdir -p $(@D)
	$(call say,VICTIM,$< static)$(CC) -std=gnu17 -D_GNU_SOURCE -O2 -g -Wall -Wextra -pthread -static \
		-o $@ $< -lz >$@.log 2>&1 || tail -n 1 $@.log
$(out)/tests/test_collectors_native_unwind.ok: | $(VICTIMS)/native_static

# The index names what was built, and why a release is missing; tests skip by that name.
$(foreach v,$(go_victims),$(eval $(VICTIMS)/$(v).index: $(wildcard tests/victims/$(v)/* \
	tests/victims/$(v)/*/*)))
$(VICTIMS)/%.index: tests/victims/build.sh tests/victims/releases
	@mkdir -p $(@D)
	$(call say,VICTIM,$*)bash tests/victims/build.sh -o $(VICTIMS) $*
$(go_tests:%.c=$(out)/%.ok): $(go_victim_files)

# All that tests/fault.c defines; the last three are what _FORTIFY_SOURCE makes of the others.
faults := malloc strdup calloc realloc read pread write openat fsync fdatasync linkat \
	renameat unlinkat ftruncate __read_chk __pread_chk __openat_2
$(fault_tests:%.c=$(out)/%): $(out)/tests/fault.o
$(fault_tests:%.c=$(out)/%): wrap := $(faults:%=-Wl,--wrap=%)

$(out)/tests/test_%: $(out)/tests/test_%.o $(harness:%.c=$(out)/%.o) $(out)/libgodiag.a
	$(call say,LINK,$@)$(link) $(wrap) -o $@ $(filter %.o,$^) $(out)/libgodiag.a $(package_libs) \
		$(cmocka_libs)

# The hook between its callers and a broker that decides as the test says.
$(patsubst %.c,$(out)/%,$(filter tests/test_agent_hook.c tests/test_agent_hook_attack.c,$(tests))): \
	$(out)/tests/hook_world.o

# A parser that misbehaves when told to; nothing but this test is built with GD_FAULTS.
$(out)/tests/parser_with_faults.o: agent/parser.c $(out)/flags
	@mkdir -p $(@D)
	$(call say,CC,$< with faults)$(compile) -DGD_FAULTS -MMD -MP -c -o $@ $<
$(out)/tests/test_agent_parser: $(out)/tests/parser_with_faults.o $(out)/tests/parser_faults.o

# Victims that notice what is done to them.
$(patsubst %.c,$(out)/%,$(filter tests/test_freeze_%,$(tests))): $(out)/tests/freeze_victim.o

# A tracer that dies when told to, and stops with a hook by which a test looks at what stands still;
# likewise.
dying := freeze/inject.c freeze/inject_begin.c freeze/tracer.c
watched := freeze/fork_copy.c freeze/inject.c freeze/stopped.c
faulty := $(sort $(dying) $(watched))
$(faulty:freeze/%.c=$(out)/tests/%_with_faults.o): $(out)/tests/%_with_faults.o: freeze/%.c $(out)/flags
	@mkdir -p $(@D)
	$(call say,CC,$< with faults)$(compile) -DGD_FAULTS -MMD -MP -c -o $@ $<
$(out)/tests/test_freeze_kill: $(dying:freeze/%.c=$(out)/tests/%_with_faults.o) \
	$(out)/tests/freeze_faults.o
$(out)/tests/test_freeze_run: $(watched:freeze/%.c=$(out)/tests/%_with_faults.o)

# Archives for tests to read, damage and repair.
$(patsubst %.c,$(out)/%,$(filter tests/test_archive_% tests/test_report_%,$(tests))): \
	$(out)/tests/archives.o
# And profiles to put into them.
$(patsubst %.c,$(out)/%,$(filter tests/test_agent_debug_port% tests/test_report_cpu% tests/test_report_flame% tests/test_report_heap% \
	tests/test_report_pprof%,$(tests))): $(out)/tests/profiles.o
# And some with the memory of a process.
$(patsubst %.c,$(out)/%,$(filter tests/test_archive_core% tests/test_cli_extract% \
	tests/test_collectors_core%,$(tests))): $(out)/tests/archives.o $(out)/tests/cores.o

$(out)/tests/test_collectors_contention $(out)/tests/test_collectors_heap \
	$(out)/tests/test_collectors_runtime: $(truth:%.c=$(out)/%.o)

$(truths:%.c=$(out)/%): %: %.o $(harness:%.c=$(out)/%.o) $(truth:%.c=$(out)/%.o) $(out)/libgodiag.a
	$(call say,LINK,$@)$(link) -o $@ $^ $(package_libs) $(cmocka_libs)

# Go programs that nobody here wrote.
$(VICTIMS)/others.index: tests/victims/others.sh | $(VICTIMS)/versitygw
	$(call say,VICTIM,others)bash tests/victims/others.sh -o $(VICTIMS)
$(out)/tests/truth_sigquit.ok: $(VICTIMS)/others.index

# Series of samples, played to the engine and replayed.
$(out)/tests/test_policies_engine $(out)/tests/test_policies_replay: $(out)/tests/series.o

$(out)/tests/test_collectors_samples: $(go_harness:%.c=$(out)/%.o) $(out)/tests/kept.o \
	$(out)/tests/pprof_lines.o

# What collectors wrote, kept in memory.
$(out)/tests/test_collectors_goroutines $(out)/tests/test_collectors_proc \
	$(out)/tests/test_collectors_native_unwind $(out)/tests/test_collectors_proc_cgroup: \
	$(out)/tests/kept.o

# A real S3 server that verifies signatures; a release of Go that cannot build it means a skip.
$(VICTIMS)/versitygw:
	@mkdir -p $(@D)
	$(call say,VICTIM,versitygw)GOBIN='$(abspath $(@D))' GOFLAGS=-mod=mod go install \
		github.com/versity/versitygw/cmd/versitygw@v1.7.0 >$@.log 2>&1 || tail -n 1 $@.log
$(patsubst %.c,$(out)/%,$(filter tests/test_golang_%,$(tests))): $(go_harness:%.c=$(out)/%.o)
$(out)/tests/test_golang_gauges: $(out)/tests/loopback.o
$(out)/tests/test_uploader_transfer $(out)/tests/test_uploader_uploader: $(out)/tests/s3_server.o
$(patsubst %.c,$(out)/%,$(filter tests/test_uploader_spool%,$(tests))): $(out)/tests/spools.o
uploading := $(filter tests/test_agent_upload% tests/test_cli_upload%,$(tests))
$(uploading:%.c=$(out)/%): $(out)/tests/spools.o $(out)/tests/s3_server.o $(out)/tests/uploads.o
$(uploading:%.c=$(out)/%.ok): | $(VICTIMS)/versitygw
$(out)/tests/test_uploader_uploader.ok: | $(VICTIMS)/versitygw

$(fuzzers:%=$(out)/tests/fuzz/fuzz_%): $(out)/tests/fuzz/fuzz_%: $(out)/tests/fuzz/fuzz_%.o \
		$(out)/tests/fuzz/replay.o $(out)/libgodiag.a
	$(call say,LINK,$@)$(link) -o $@ $^ $(package_libs)

# Tests of the command line run the programs.
$(patsubst %.c,$(out)/%.ok,$(filter tests/test_cli_%,$(tests))): $(programs)

# A finished test leaves its log and a stamp; only what changed runs again.
test_env := BUILD='$(out)' VICTIMS='$(VICTIMS)'
$(out)/tests/test_%.ok: $(out)/tests/test_% $(c_victim_files)
	$(call say,TEST,$*)$(test_env) sh tests/run.sh $@ $<
$(truths:%.c=$(out)/%.ok): %.ok: % $(go_victim_files)
	$(call say,TEST,$(*F))$(test_env) sh tests/run.sh $@ $<
$(out)/tests/fuzz/fuzz_%.ok: $(out)/tests/fuzz/fuzz_%
	$(call say,REPLAY,$*)$(test_env) sh tests/run.sh $@ $< tests/fuzz/corpus/$*
$(out)/tests/integration/%.ok: tests/integration/%.sh $(programs) $(c_victim_files) \
		$(go_victim_files)
	$(call say,TEST,integration/$*)$(test_env) sh tests/run.sh $@ $$(sed -n '1s/^#!//p' $<) $<
$(foreach f,$(fuzzers),$(eval $(out)/tests/fuzz/fuzz_$(f).ok: $(wildcard tests/fuzz/corpus/$(f)/*)))

# What the clang build must compile although it does not run it.
test-programs: $(some_tests:%.c=$(out)/%) $(some_truths:%.c=$(out)/%) \
	$(some_fuzzers:%=$(out)/tests/fuzz/fuzz_%)

# Tests run as root (see tests/run.sh): sudo asks once, before it gets busy.
rights:
	@[ "$$(id -u)" -eq 0 ] || ! command -v sudo >/dev/null || sudo -n true 2>/dev/null || \
		{ [ -t 2 ] && sudo -v; } || echo 'make: no root here: tests that need it will skip'

stamps := $(some_tests:%.c=$(out)/%.ok) $(some_truths:%.c=$(out)/%.ok) \
	$(some_fuzzers:%=$(out)/tests/fuzz/fuzz_%.ok) $(if $(whole),$(integration:%.sh=$(out)/%.ok))
$(stamps): | rights
check: $(stamps)
	@awk -f tests/totals.awk $(stamps:.ok=.log)

# ---- checks ----------------------------------------------------------------------------------------

every_folder := $(folders) tests

# The architecture as a test.
layers:
	@awk -f tests/layers.awk $(wildcard $(every_folder:%=%/*.[ch]))

# Everything that is not static starts with gd_, so that nothing clashes and grep finds it.
symbols: $(out)/libgodiag.a
	@nm -A -g --defined-only $< | awk '$$NF !~ /^gd_/ && NF > 2 { print; bad = 1 } END { exit bad }'

# Each header stands alone.
headers: $(patsubst %,$(out)/%.ok,$(wildcard $(every_folder:%=%/*.h)))
$(out)/%.h.ok: %.h $(out)/flags
	@mkdir -p $(@D)
	$(call say,HEADER,$<)printf '#include "%s"\n' $< | $(compile) -MMD -MP -MF $@.d -MT $@ -Werror \
		-fsyntax-only -x c - && touch $@
-include $(wildcard $(out)/*/*.h.ok.d)

# gcc's analyzer is the static gate: it understands our cleanup guards, clang 14's does not.
# Leaked descriptors are left to the tests' fixture: gcc 13 and 14 call what dup2 returns leaked.
analyzed := $(sources) $(main) $(some_tests) $(harness) \
	$(if $(whole),$(go_harness) $(shared) $(truth) $(truths)) \
	$(if $(some_fuzzers),tests/fuzz/replay.c $(some_fuzzers:%=tests/fuzz/fuzz_%.c))
analyze: $(patsubst %.c,$(out)/analyze/%.ok,$(sort $(analyzed)))
# gcc 12 loses sight of strings stored through two pointers and calls them leaked; here the tests under
# the sanitizers say whether anything is.
blurred := agent/capture.c agent/packer_process.c archive/layout_parse.c tests/test_archive_snapshot.c
$(blurred:%.c=$(out)/analyze/%.ok): unseen := -Wno-analyzer-malloc-leak
$(out)/analyze/%.ok: %.c $(out)/flags
	@mkdir -p $(@D)
	$(call say,ANALYZE,$<)$(compile) -DGD_ANALYZER -Werror -fanalyzer -Wno-analyzer-fd-leak $(unseen) \
		-MMD -MP -MF $(@:.ok=.d) -MT $@ -c -o /dev/null $< && touch $@
-include $(wildcard $(out)/analyze/*/*.d $(out)/analyze/*/*/*.d)

# clang-tidy takes seconds per file, so it sees only what changed since a commit.
SINCE ?= HEAD~1
tidied = $(shell git diff --name-only --diff-filter=d $(SINCE) -- '*.c')
tidy:
	$(if $(tidied),clang-tidy --quiet --warnings-as-errors='*' $(tidied) -- -std=gnu17 \
		-D_GNU_SOURCE -DGD_VERSION='"$(VERSION)"' -I. $(package_cflags),@echo 'nothing changed')

# ---- fuzzing ---------------------------------------------------------------------------------------

# make fuzz [FUZZ="pclntab manifest"] [FUZZ_SECONDS=300].  Finds go to <build>/tests/fuzz/, copy them to
# tests/fuzz/corpus/<name>/ with the fix.
FUZZ ?= $(fuzzers)
FUZZ_SECONDS ?= 30
.PHONY: run-fuzzers $(fuzzers:%=run-fuzzer-%)
fuzz:
	@$(MAKE) --no-print-directory CC=clang SAN=fuzzer-no-link,address,undefined run-fuzzers
run-fuzzers: $(FUZZ:%=run-fuzzer-%)
$(fuzzers:%=run-fuzzer-%): run-fuzzer-%: $(out)/tests/fuzz/libfuzzer_%
	@mkdir -p $(out)/tests/fuzz/found/$*
	$(call say,FUZZ,$* for $(FUZZ_SECONDS) s)$< -max_total_time=$(FUZZ_SECONDS) -timeout=10 \
		-rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix=$(out)/tests/fuzz/$*- \
		$(out)/tests/fuzz/found/$* tests/fuzz/corpus/$* >$<.log 2>&1 || { tail -n 60 $<.log; exit 1; }
	@awk '/number_of_executed_units/ { n = $$2 } /peak_rss_mb/ { m = $$2 } \
		END { printf "  %-8s $*: %d inputs, peak %d MB\n", "", n, m }' $<.log
$(out)/tests/fuzz/libfuzzer_%: $(out)/tests/fuzz/fuzz_%.o $(out)/libgodiag.a
	$(call say,LINK,$@)$(link) -fsanitize=fuzzer -o $@ $^ $(package_libs)

# ---- the rest --------------------------------------------------------------------------------------

# On a machine that has nothing yet the demo installs, builds, and shows one capture.
demo:
	@PID='$(PID)' BUILD='$(BUILD)' MAKE='$(MAKE)' bash tests/demo/run.sh
demo-alert:
	@BUILD='$(BUILD)' VICTIMS='$(VICTIMS)' MAKE='$(MAKE)' bash tests/demo/alert.sh

# What make check does with 60 captures.
SOAK ?= 2000
soak: all
	@$(test_env) SOAK='$(SOAK)' sh tests/integration/soak.sh

# Every role that touches a target dies at random moments, of every victim's; then whole captures.
TORTURE ?= 1000
torture: all $(out)/tests/test_freeze_kill $(c_victim_files) $(go_victim_files)
	@$(test_env) TORTURE='$(TORTURE)' $(out)/tests/test_freeze_kill
	@$(test_env) CORE_KILLS='$(TORTURE)' bash tests/integration/core_kill.sh

# The watcher and its broker's end alone, to measure.
$(out)/tests/bench/idle: $(out)/tests/bench/idle.o $(out)/libgodiag.a
	$(call say,LINK,$@)$(link) -o $@ $^ $(package_libs)

bench: all $(out)/tests/bench/idle
	@$(test_env) bash tests/bench/run.sh

man_pages = $(foreach p,$(pages),$(DESTDIR)$(mandir)/man$(patsubst .%,%,$(suffix $(p)))/$(notdir $(p)))
# kill(1) as ExecReload= wants it: an absolute path, which on Debian is this one.
filled = sed -e 's,@bindir@,$(bindir),g' -e 's,@sbindir@,$(sbindir),g' -e 's,@confdir@,$(confdir),g' \
	-e 's,@kill@,/usr/bin/kill,g'
# An operator's policy is never touched; the example of the same name says what is new.
install: all
	$(INSTALL) -D -m 755 $(out)/godiag $(DESTDIR)$(bindir)/godiag
	$(foreach n,$(names),ln -sf godiag $(DESTDIR)$(bindir)/$(n)$(newline))
	$(INSTALL) -d $(DESTDIR)$(sbindir)
	$(foreach n,$(daemons),ln -srf $(DESTDIR)$(bindir)/godiag $(DESTDIR)$(sbindir)/$(n)$(newline))
	$(foreach p,$(man_pages),$(INSTALL) -D -m 644 docs/$(notdir $(p)) $(p)$(newline))
	$(INSTALL) -d $(DESTDIR)$(unitdir) $(DESTDIR)$(sysusersdir) $(DESTDIR)$(tmpfilesdir)
	$(foreach u,$(units),$(filled) $(u).in >$(DESTDIR)$(unitdir)/$(notdir $(u))$(newline))
	$(filled) systemd/godiag.tmpfiles.in >$(DESTDIR)$(tmpfilesdir)/godiag.conf
	$(INSTALL) -m 644 systemd/godiag.sysusers $(DESTDIR)$(sysusersdir)/godiag.conf
	$(INSTALL) -D -m 644 systemd/90-godiag.preset $(DESTDIR)$(presetdir)/90-godiag.preset
	$(INSTALL) -d $(DESTDIR)$(confdir)/policy.d
	test -e $(DESTDIR)$(confdir)/policy.yaml || \
		$(INSTALL) -m 644 policies/examples/policy.yaml $(DESTDIR)$(confdir)/policy.yaml
	$(INSTALL) -d $(DESTDIR)$(docdir)/examples
	$(INSTALL) -m 644 $(examples) $(DESTDIR)$(docdir)/examples
# Leaves the policy and the archives: both are somebody's work.
uninstall:
	rm -f $(DESTDIR)$(bindir)/godiag $(names:%=$(DESTDIR)$(bindir)/%) \
		$(daemons:%=$(DESTDIR)$(sbindir)/%) $(man_pages) \
		$(units:systemd/%='$(DESTDIR)$(unitdir)/%') $(DESTDIR)$(sysusersdir)/godiag.conf \
		$(DESTDIR)$(tmpfilesdir)/godiag.conf $(DESTDIR)$(presetdir)/90-godiag.preset \
		$(examples:policies/%=$(DESTDIR)$(docdir)/%)

# As the distribution would install it; what packages and checks of the units start from.
define stage
@rm -rf $(1)
+@$(MAKE) --no-print-directory -s install DESTDIR='$(abspath $(1))' prefix=/usr sysconfdir=/etc
endef
deb: all
	$(call stage,$(out)/deb/godiag)
	@bash systemd/deb.sh $(out)/deb/godiag $(VERSION) $(out)

# The units as they would be installed: no directive that this systemd does not know, and an exposure
# (in tenths) that only gets smaller.
units: all
	$(call stage,$(out)/units)
	@sh systemd/units.sh '$(out)/units'

boot: deb
	@bash tests/demo/build_service.sh $(out)/deb/checkout >/dev/null
	@bash tests/boot.sh $(out)/godiag_$(VERSION)_*.deb $(out)/deb/checkout

clean:
	rm -rf $(out)

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile
