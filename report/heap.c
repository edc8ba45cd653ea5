#include "report/heap.h"

#include "report/instant.h"

int gd_heap_parse(const void *bytes, size_t n, struct gd_sites *ret, struct gd_error *err)
{
	GD_PPROF_READ struct gd_pprof_read profile = { 0 };
	int r = gd_pprof_read_init(&profile, "heap.pb.gz", bytes, n, err);
	return r < 0 ? r : gd_sites_add_up(&profile, "inuse_space", "inuse_objects", ret, err);
}

int gd_heap_read(const struct gd_reader *reader, struct gd_sites *ret, struct gd_error *err)
{
	GD_BUF struct gd_buf profile = GD_BUF_INIT(GD_PPROF_READ_BYTES);
	char name[208];
	int r = gd_pprof_read_unpack(reader, gd_instant_name(reader, "heap.pb.gz", name), &profile,
	                             err);
	return r < 0 ? r : gd_heap_parse(profile.data, profile.len, ret, err);
}
