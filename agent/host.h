#pragma once
/*
 * Which machine, kernel and boot a capture was taken on.
 */
struct gd_snapshot;

/* Fills hostname, kernel, machine, boot_id; what cannot be read stays "". */
void gd_host_identify(struct gd_snapshot *snapshot);
