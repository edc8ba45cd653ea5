#pragma once
/*
 * What a reader of the archive wants to know about the target itself: program, start, container.
 */
struct gd_request_subject;
struct gd_snapshot;
struct gd_target;

/* Fills the target's part of the snapshot; what cannot be read stays "" or 0. */
void gd_subject_fill(struct gd_target *target, struct gd_snapshot *snapshot);

/*
 * The broker's half: what it knows itself of a target it has opened, and what a jailed reader told
 * (NULL: nothing), which is foreign text and taken as such.
 */
void gd_subject_take(const struct gd_target *target, const struct gd_request_subject *told,
                     struct gd_snapshot *snapshot);
