#pragma once
/*
 * Where the fields of the Go runtime's structs lie, by exact Go release (linux/amd64).  Offsets move
 * between releases, for `m` even between patch releases; a wrong one yields plausible junk.  So an
 * exact row of the generated table (layout_table.h, made from offsets.tsv by layout_table.awk) is
 * still checked at run time (calibrate.h), and a release without a row is calibrated alone.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "golang/buildinfo.h"

/*
 * Every field godiag reads: X(member, runtime struct, field path in the table).  "" is the struct's
 * size; "a|b" is the first of these names that a release has.  A member is GD_ABSENT when the
 * release has no such field: 1.27's memRecord, for one, no longer counts bytes (they are the
 * bucket's size times the objects).  To add a field append a line and run `make layout`.
 */
#define GD_LAYOUT_FIELDS(X)                                                                        \
	X(g_size, "g", "")                                                                         \
	X(g_stack_lo, "g", "stack.lo")                                                             \
	X(g_stack_hi, "g", "stack.hi")                                                             \
	X(g_m, "g", "m")                                                                           \
	X(g_sched_sp, "g", "sched.sp")                                                             \
	X(g_sched_pc, "g", "sched.pc")                                                             \
	X(g_sched_g, "g", "sched.g")                                                               \
	X(g_sched_bp, "g", "sched.bp")                                                             \
	X(g_syscallsp, "g", "syscallsp")                                                           \
	X(g_syscallpc, "g", "syscallpc")                                                           \
	X(g_stktopsp, "g", "stktopsp")                                                             \
	X(g_atomicstatus, "g", "atomicstatus")                                                     \
	X(g_goid, "g", "goid")                                                                     \
	X(g_waitsince, "g", "waitsince")                                                           \
	X(g_waitreason, "g", "waitreason")                                                         \
	X(g_lockedm, "g", "lockedm")                                                               \
	X(g_parent_goid, "g", "parentGoid")                                                        \
	X(g_gopc, "g", "gopc")                                                                     \
	X(g_startpc, "g", "startpc")                                                               \
	X(g_waiting, "g", "waiting")                                                               \
	X(g_labels, "g", "labels")                                                                 \
	X(g_tracking_seq, "g", "trackingSeq")                                                      \
	X(m_size, "m", "")                                                                         \
	X(m_g0, "m", "g0")                                                                         \
	X(m_procid, "m", "procid")                                                                 \
	X(m_gsignal, "m", "gsignal")                                                               \
	X(m_curg, "m", "curg")                                                                     \
	X(m_p, "m", "p")                                                                           \
	X(m_id, "m", "id")                                                                         \
	X(m_incgo, "m", "incgo")                                                                   \
	X(m_ncgo, "m", "ncgo")                                                                     \
	X(m_alllink, "m", "alllink")                                                               \
	X(m_lockedg, "m", "lockedg")                                                               \
	X(m_vdso_sp, "m", "vdsoSP")                                                                \
	X(m_vdso_pc, "m", "vdsoPC")                                                                \
	X(m_spinning, "m", "spinning")                                                             \
	X(m_blocked, "m", "blocked")                                                               \
	X(m_locks, "m", "locks")                                                                   \
	X(p_id, "p", "id")                                                                         \
	X(p_status, "p", "status")                                                                 \
	X(p_schedtick, "p", "schedtick")                                                           \
	X(p_syscalltick, "p", "syscalltick")                                                       \
	X(p_m, "p", "m")                                                                           \
	X(p_mcache, "p", "mcache")                                                                 \
	X(p_runqhead, "p", "runqhead")                                                             \
	X(p_runqtail, "p", "runqtail")                                                             \
	X(p_runnext, "p", "runnext")                                                               \
	X(sched_goidgen, "schedt", "goidgen")                                                      \
	X(sched_lastpoll, "schedt", "lastpoll")                                                    \
	X(sched_mnext, "schedt", "mnext")                                                          \
	X(sched_nmidle, "schedt", "nmidle")                                                        \
	X(sched_nmsys, "schedt", "nmsys")                                                          \
	X(sched_ngsys, "schedt", "ngsys")                                                          \
	X(sched_npidle, "schedt", "npidle")                                                        \
	X(sched_nmspinning, "schedt", "nmspinning")                                                \
	X(sched_runqsize, "schedt", "runqsize")                                                    \
	X(sched_runq_size, "schedt", "runq.size")                                                  \
	X(sched_gcwaiting, "schedt", "gcwaiting")                                                  \
	X(sched_time_to_run, "schedt", "timeToRun")                                                \
	X(sched_total_mutex_wait, "schedt", "totalMutexWaitTime")                                  \
	X(sched_stw_stopping_gc, "schedt", "stwStoppingTimeGC")                                    \
	X(sched_stw_stopping_other, "schedt", "stwStoppingTimeOther")                              \
	X(sched_stw_total_gc, "schedt", "stwTotalTimeGC")                                          \
	X(sched_stw_total_other, "schedt", "stwTotalTimeOther")                                    \
	X(hist_size, "timeHistogram", "")                                                          \
	X(hist_underflow, "timeHistogram", "underflow")                                            \
	X(hist_overflow, "timeHistogram", "overflow")                                              \
	X(mstats_buckhash_sys, "mstats", "buckhash_sys")                                           \
	X(mstats_last_gc_unix, "mstats", "last_gc_unix")                                           \
	X(mstats_pause_total_ns, "mstats", "pause_total_ns")                                       \
	X(mstats_pause_ns, "mstats", "pause_ns")                                                   \
	X(mstats_pause_end, "mstats", "pause_end")                                                 \
	X(mstats_numgc, "mstats", "numgc")                                                         \
	X(mstats_numforcedgc, "mstats", "numforcedgc")                                             \
	X(mstats_gc_cpu_fraction, "mstats", "gc_cpu_fraction")                                     \
	X(mstats_heap_stats, "mstats", "heapStats")                                                \
	X(mstats_gc_pause_dist, "mstats", "gcPauseDist")                                           \
	X(mstats_stacks_sys, "mstats", "stacks_sys")                                               \
	X(mstats_mspan_sys, "mstats", "mspan_sys")                                                 \
	X(mstats_mcache_sys, "mstats", "mcache_sys")                                               \
	X(mstats_gc_sys, "mstats", "gcMiscSys")                                                    \
	X(mstats_other_sys, "mstats", "other_sys")                                                 \
	X(gcc_gc_percent, "gcControllerState", "gcPercent")                                        \
	X(gcc_memory_limit, "gcControllerState", "memoryLimit")                                    \
	X(gcc_heap_live, "gcControllerState", "heapLive")                                          \
	X(gcc_heap_marked, "gcControllerState", "heapMarked")                                      \
	X(gcc_heap_goal, "gcControllerState", "heapGoal")                                          \
	X(gcc_heap_goal_percent, "gcControllerState", "gcPercentHeapGoal")                         \
	X(gcc_last_heap_goal, "gcControllerState", "lastHeapGoal")                                 \
	X(gcc_heap_in_use, "gcControllerState", "heapInUse")                                       \
	X(gcc_heap_released, "gcControllerState", "heapReleased")                                  \
	X(gcc_heap_free, "gcControllerState", "heapFree")                                          \
	X(gcc_total_alloc, "gcControllerState", "totalAlloc")                                      \
	X(gcc_total_free, "gcControllerState", "totalFree")                                        \
	X(gcc_mapped_ready, "gcControllerState", "mappedReady")                                    \
	X(bucket_next, "bucket", "next")                                                           \
	X(bucket_allnext, "bucket", "allnext")                                                     \
	X(bucket_typ, "bucket", "typ")                                                             \
	X(bucket_hash, "bucket", "hash")                                                           \
	X(bucket_size, "bucket", "size")                                                           \
	X(bucket_nstk, "bucket", "nstk")                                                           \
	X(sudog_g, "sudog", "g")                                                                   \
	X(sudog_elem, "sudog", "elem")                                                             \
	X(sudog_waitlink, "sudog", "waitlink")                                                     \
	X(sudog_c, "sudog", "c")                                                                   \
	X(mheap_pages_in_use, "mheap", "pagesInUse")                                               \
	X(mheap_allspans, "mheap", "allspans")                                                     \
	X(mheap_arenas, "mheap", "arenas")                                                         \
	X(memrec_size, "memRecord", "")                                                            \
	X(memrec_active, "memRecord", "active")                                                    \
	X(memrec_future, "memRecord", "future")                                                    \
	X(memrec_active_allocs, "memRecord", "active.allocs")                                      \
	X(memrec_active_frees, "memRecord", "active.frees")                                        \
	X(memrec_active_alloc_bytes, "memRecord", "active.alloc_bytes")                            \
	X(memrec_active_free_bytes, "memRecord", "active.free_bytes")                              \
	X(mstats_heap_stats_gen, "mstats", "heapStats.gen")                                        \
	X(mstats_heap_sys, "mstats", "heap_sys")                                                   \
	X(mstats_heap_inuse, "mstats", "heap_inuse")                                               \
	X(mstats_heap_released, "mstats", "heap_released")                                         \
	X(gcc_size, "gcControllerState", "")                                                       \
	X(gcc_sweep_dist_min_trigger, "gcControllerState", "sweepDistMinTrigger")                  \
	X(gcc_triggered, "gcControllerState", "triggered")                                         \
	X(gcc_trigger, "gcControllerState", "trigger")                                             \
	X(gcc_runway, "gcControllerState", "runway")                                               \
	X(mcache_alloc, "mcache", "alloc")                                                         \
	X(mspan_size, "mspan", "")                                                                 \
	X(mspan_nelems, "mspan", "nelems")                                                         \
	X(mspan_elemsize, "mspan", "elemsize")                                                     \
	X(mspan_alloc_count, "mspan", "allocCount")                                                \
	X(mspan_alloc_count_before_cache, "mspan", "allocCountBeforeCache")                        \
	X(mheap_spanalloc, "mheap", "spanalloc")                                                   \
	X(mheap_cachealloc, "mheap", "cachealloc")                                                 \
	X(bucket_bytes, "bucket", "")                                                              \
	X(blockrec_count, "blockRecord", "count")                                                  \
	X(blockrec_cycles, "blockRecord", "cycles")                                                \
	X(mstats_enablegc, "mstats", "enablegc")                                                   \
	X(sched_pidle, "schedt", "pidle")                                                          \
	X(sched_maxmcount, "schedt", "maxmcount")                                                  \
	X(sched_nmfreed, "schedt", "nmfreed")                                                      \
	X(gcc_heap_minimum, "gcControllerState", "heapMinimum")                                    \
	X(mspan_start_addr, "mspan", "startAddr")                                                  \
	X(mspan_npages, "mspan", "npages")                                                         \
	X(mheap_sweepgen, "mheap", "sweepgen")                                                     \
	X(mspan_sweepgen, "mspan", "sweepgen")                                                     \
	X(sched_runtime_lock_wait, "schedt", "totalRuntimeLockWaitTime")                           \
	X(m_lock_profile, "m", "mLockProfile")                                                     \
	X(p_gfree, "p", "gFree")                                                                   \
	X(sched_gfree, "schedt", "gFree")                                                          \
	X(sched_sudoglock, "schedt", "sudoglock")                                                  \
	X(sched_procresizetime, "schedt", "procresizetime")                                        \
	X(sched_totaltime, "schedt", "totaltime")                                                  \
	X(mstats_last_gc_nanotime, "mstats", "last_gc_nanotime")                                   \
	X(mspan_spanclass, "mspan", "spanclass")                                                   \
	X(mspan_state, "mspan", "state")

#define GD_ABSENT (-1)

struct gd_layout {
#define GD_LAYOUT_MEMBER_(member, type, field) int32_t member;
	GD_LAYOUT_FIELDS(GD_LAYOUT_MEMBER_)
#undef GD_LAYOUT_MEMBER_
	/* How far this layout can be relied on; "exact" only when table and calibration agree. */
	enum gd_layout_trust { GD_LAYOUT_EXACT, GD_LAYOUT_CALIBRATED } trust;
};

/*
 * The table's row for an exact release.  For a release that has none the newest older patch of the
 * same minor is taken (else of the newest older minor) as a starting point and trust is
 * GD_LAYOUT_CALIBRATED.  -ENOTSUP below Go 1.18.
 */
int gd_layout_of(const struct gd_go_version *version, struct gd_layout *ret, struct gd_error *err);
