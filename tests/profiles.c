#include "tests/profiles.h"

#include <string.h>
#include <zlib.h>

void profile_put_varint(struct gd_buf *out, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		gd_buf_putc(out, (char)(value | 0x80));
	gd_buf_putc(out, (char)value);
}

void profile_put_number(struct gd_buf *out, unsigned field, uint64_t value)
{
	profile_put_varint(out, field << 3);
	profile_put_varint(out, value);
}

void profile_put_bytes(struct gd_buf *out, unsigned field, const void *bytes, size_t n)
{
	profile_put_varint(out, field << 3 | 2);
	profile_put_varint(out, n);
	gd_buf_append(out, bytes, n);
}

void profile_put_message(struct gd_buf *out, unsigned field, struct gd_buf *message)
{
	profile_put_bytes(out, field, message->data, message->len);
	gd_buf_reset(message);
}

static uint64_t put_string(struct profile *p, const char *text)
{
	profile_put_bytes(&p->bytes, 6, text, strlen(text));
	return p->n_strings++;
}

struct profile profile_begin(const char *const *types, size_t n)
{
	struct profile p = { .bytes = GD_BUF_INIT(16U << 20) };
	GD_BUF struct gd_buf message = GD_BUF_INIT(4096);
	(void)put_string(&p, "");
	for (size_t i = 0; i < n; i += 2) {
		profile_put_number(&message, 1, put_string(&p, types[i]));
		profile_put_number(&message, 2, put_string(&p, types[i + 1]));
		profile_put_message(&p.bytes, 1, &message);
	}
	profile_put_number(&p.bytes, 10, UINT64_C(10000000000));
	return p;
}

uint64_t profile_mapping(struct profile *p, const char *file)
{
	GD_BUF struct gd_buf message = GD_BUF_INIT(4096);
	uint64_t id = ++p->n_mappings;
	profile_put_number(&message, 1, id);
	profile_put_number(&message, 2, 0x400000);
	profile_put_number(&message, 5, put_string(p, file));
	profile_put_message(&p->bytes, 3, &message);
	return id;
}

uint64_t profile_location(struct profile *p, uint64_t mapping, uint64_t address,
                          const struct profile_line *lines, size_t n)
{
	GD_BUF struct gd_buf message = GD_BUF_INIT(65536);
	GD_BUF struct gd_buf part = GD_BUF_INIT(4096);
	GD_BUF struct gd_buf body = GD_BUF_INIT(65536);
	for (size_t i = 0; i < n; i++) {
		uint64_t function = ++p->n_functions;
		profile_put_number(&part, 1, function);
		profile_put_number(&part, 2, put_string(p, lines[i].function));
		if (lines[i].file != NULL)
			profile_put_number(&part, 4, put_string(p, lines[i].file));
		profile_put_message(&p->bytes, 5, &part);
		profile_put_number(&part, 1, function);
		profile_put_number(&part, 2, (uint64_t)lines[i].line);
		profile_put_message(&body, 4, &part);
	}
	uint64_t id = ++p->n_locations;
	profile_put_number(&message, 1, id);
	if (mapping != 0)
		profile_put_number(&message, 2, mapping);
	profile_put_number(&message, 3, address);
	gd_buf_append(&message, body.data, body.len);
	profile_put_message(&p->bytes, 4, &message);
	return id;
}

void profile_sample(struct profile *p, const uint64_t *locations, size_t n, int64_t a, int64_t b,
                    const struct profile_label *labels, size_t n_labels)
{
	GD_BUF struct gd_buf message = GD_BUF_INIT(1 << 20);
	GD_BUF struct gd_buf part = GD_BUF_INIT(1 << 20);
	for (size_t i = 0; i < n; i++)
		profile_put_varint(&part, locations[i]);
	profile_put_message(&message, 1, &part);
	profile_put_varint(&part, (uint64_t)a);
	profile_put_varint(&part, (uint64_t)b);
	profile_put_message(&message, 2, &part);
	for (size_t i = 0; i < n_labels; i++) {
		profile_put_number(&part, 1, put_string(p, labels[i].key));
		if (labels[i].text != NULL)
			profile_put_number(&part, 2, put_string(p, labels[i].text));
		else
			profile_put_number(&part, 3, (uint64_t)labels[i].number);
		profile_put_message(&message, 3, &part);
	}
	profile_put_message(&p->bytes, 2, &message);
}

struct gd_buf profile_gzip(struct profile *p)
{
	struct gd_buf out = GD_BUF_INIT(16U << 20);
	z_stream z = { .next_in = (Bytef *)p->bytes.data, .avail_in = (uInt)p->bytes.len };
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	uLong room = deflateBound(&z, (uLong)p->bytes.len);
	z.next_out = (Bytef *)gd_buf_reserve(&out, room);
	assert_non_null(z.next_out);
	z.avail_out = (uInt)room;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	out.len = room - z.avail_out;
	assert_int_equal(deflateEnd(&z), Z_OK);
	gd_buf_deinit(&p->bytes);
	return out;
}

/* One sample class of the shop: n samples of 10 ms on a thread. */
static void put(struct profile *p, const uint64_t *locations, size_t n_locations, int64_t n,
                const char *class, int64_t tid, int64_t goroutine, const char *handler)
{
	struct profile_label labels[6] = { { "class", class, 0 }, { "thread", "shop", 0 },
		                           { "tid", NULL, tid } };
	size_t n_labels = 3;
	if (goroutine != 0)
		labels[n_labels++] = (struct profile_label){ "goroutine", NULL, goroutine };
	if (goroutine != 0)
		labels[n_labels++] = (struct profile_label){ "goroutine_confidence", "tls", 0 };
	if (handler != NULL)
		labels[n_labels++] = (struct profile_label){ "handler", handler, 0 };
	profile_sample(p, locations, n_locations, n, n * 10000000, labels, n_labels);
}

struct profile profile_shop(void)
{
	static const char *const types[] = { "samples", "count", "cpu", "nanoseconds" };
	struct profile p = profile_begin(types, 4);
	uint64_t shop = profile_mapping(&p, "/srv/shop");
	uint64_t kernel = profile_mapping(&p, "[kernel.kallsyms]");
	uint64_t libc = profile_mapping(&p, "/lib/libc.so.6");
	uint64_t run = profile_location(
		&p, shop, 0x401000, &(struct profile_line){ "main.run", "/src/main.go", 10 }, 1);
	uint64_t serve = profile_location(&p, shop, 0x401100,
	                                  (const struct profile_line[]){
						  { "main.parse", "/src/parse.go", 33 },
						  { "main.serve", "/src/main.go", 20 } },
	                                  2);
	uint64_t serve_again = profile_location(
		&p, shop, 0x401180, &(struct profile_line){ "main.serve", "/src/main.go", 25 }, 1);
	uint64_t malloc = profile_location(
		&p, shop, 0x402000,
		&(struct profile_line){ "runtime.mallocgc", "/go/malloc.go", 900 }, 1);
	uint64_t write = profile_location(&p, shop, 0x403000,
	                                  &(struct profile_line){ "syscall.write", "/go/s.go", 5 }, 1);
	uint64_t sys = profile_location(&p, kernel, UINT64_C(0xffffffff81000010),
	                                &(struct profile_line){ "ksys_write", NULL, 0 }, 1);
	uint64_t mark = profile_location(
		&p, shop, 0x404000,
		&(struct profile_line){ "runtime.gcBgMarkWorker", "/go/mgc.go", 1400 }, 1);
	uint64_t bare = profile_location(&p, libc, 0x400000 + 0x29d90, NULL, 0);
	uint64_t lost = profile_location(&p, shop, 0, &(struct profile_line){ "[lost]", NULL, 0 }, 1);
	put(&p, (const uint64_t[]){ serve, run }, 2, 40, "user", 71, 18, "/order");
	put(&p, (const uint64_t[]){ serve, run }, 2, 10, "user", 72, 19, "/cart");
	put(&p, (const uint64_t[]){ malloc, serve_again, run }, 3, 20, "malloc", 72, 19, "/cart");
	put(&p, (const uint64_t[]){ sys, write, run }, 3, 12, "kernel", 71, 18, NULL);
	put(&p, (const uint64_t[]){ mark }, 1, 6, "gc background", 72, 3, NULL);
	put(&p, (const uint64_t[]){ bare }, 1, 4, "user", 71, 0, NULL);
	profile_sample(&p, &lost, 1, 8, 80000000, NULL, 0);
	return p;
}
