#pragma once
/*
 * What a reader of the archive wants to know about the target itself: program, start, container.
 */
struct gd_snapshot;
struct gd_target;

/* Fills the target's part of the snapshot; what cannot be read stays "" or 0. */
void gd_subject_fill(struct gd_target *target, struct gd_snapshot *snapshot);
