#include "agent/scraper_list.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "policies/policy.h"

/* --- the asking end --- */

static int send_chunk(int fd, const struct gd_buf *chunk, struct gd_error *err)
{
	struct pollfd wait = { .fd = fd, .events = POLLOUT };
	for (unsigned i = 0;; i++) {
		int r = gd_message_send(fd, GD_SCRAPER_LIST, 0, chunk->data, chunk->len, NULL, 0,
		                        err);
		if (r != -EAGAIN || i == 10)
			return r;
		(void)poll(&wait, 1, 100);
	}
}

/* Appends as many entries from `first` on as one message holds; returns how many. */
static size_t fill(struct gd_buf *chunk, uint32_t generation,
                   const struct gd_scraper_service *services, size_t n, size_t first)
{
	struct gd_scraper_list_head head = { generation, (uint32_t)n, (uint32_t)first, 0 };
	gd_buf_reset(chunk);
	gd_buf_append(chunk, &head, sizeof(head));
	for (size_t i = first; i < n; i++) {
		struct gd_scraper_list_item item = {
			.service = services[i].service,
			.url_len = (uint16_t)strlen(services[i].url),
			.histogram_len = (uint16_t)strlen(services[i].histogram),
			.fast = services[i].fast,
		};
		if (chunk->len + sizeof(item) + GD_SCRAPER_TEXT_MAX > GD_MESSAGE_MAX)
			break;
		gd_buf_append(chunk, &item, sizeof(item));
		gd_buf_append(chunk, services[i].url, item.url_len);
		gd_buf_append(chunk, services[i].histogram, item.histogram_len);
		head.here++;
	}
	if (chunk->len >= sizeof(head))
		memcpy(chunk->data, &head, sizeof(head));
	return head.here;
}

int gd_scraper_tell(int fd, uint32_t generation, const struct gd_scraper_service *services,
                    size_t n, struct gd_error *err)
{
	GD_BUF struct gd_buf chunk = GD_BUF_INIT(GD_MESSAGE_MAX);
	size_t told = 0;
	if (n > GD_POLICY_SERVICES_MAX)
		return gd_fail(err, -E2BIG, "more than %d services to scrape",
		               GD_POLICY_SERVICES_MAX);
	for (size_t i = 0; i < n; i++)
		if (strlen(services[i].url) + strlen(services[i].histogram) > GD_SCRAPER_TEXT_MAX)
			return gd_fail(err, -E2BIG, "URL of service %u is too long",
			               services[i].service);
	do {
		told += fill(&chunk, generation, services, n, told);
		int r = gd_buf_check(&chunk, "services to scrape", err);
		if (r == 0)
			r = send_chunk(fd, &chunk, err);
		if (r < 0)
			return gd_error_wrap(err, r, "services to scrape");
	} while (told < n);
	return 0;
}

int gd_scraper_recv(int fd, struct gd_scraper_sample *ret, struct gd_error *err)
{
	GD_MESSAGE struct gd_message message = { 0 };
	char body[GD_MESSAGE_MAX];
	struct gd_scraper_sample sample;
	int r = gd_message_recv(fd, &message, body, sizeof(body), err);
	if (r <= 0)
		return r;
	r = gd_message_body(&message, sizeof(sample), err);
	if (r < 0)
		return r;
	memcpy(&sample, body, sizeof(sample));
	if (message.type != GD_SCRAPER_SAMPLE || message.n_fds > 0 ||
	    sample.service >= GD_POLICY_SERVICES_MAX || isinf(sample.p99_s) || sample.p99_s < 0 ||
	    memchr(sample.why, '\0', sizeof(sample.why)) == NULL)
		return gd_fail(err, -EBADMSG, "no sample of a scraper");
	for (char *p = sample.why; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	*ret = sample;
	return 1;
}

/* --- the scraper's end --- */

void gd_scraper_list_free(struct gd_scraper_list *list)
{
	if (list == NULL)
		return;
	for (size_t i = 0; i < list->arrived; i++) {
		free(list->entries[i].url);
		free(list->entries[i].histogram);
	}
	free(list->entries);
	free(list);
}

static struct gd_scraper_list *create(const struct gd_scraper_list_head *head)
{
	struct gd_scraper_list *list = calloc(1, sizeof(*list));
	if (list == NULL)
		return NULL;
	list->generation = head->generation;
	list->n = head->n;
	list->entries = calloc(head->n + 1, sizeof(list->entries[0]));
	if (list->entries == NULL) {
		free(list);
		return NULL;
	}
	return list;
}

static char *take_text(struct gd_bytes *in, size_t n)
{
	const uint8_t *p = gd_bytes_take(in, n);
	return p != NULL ? strndup((const char *)p, n) : NULL;
}

static int take_entry(struct gd_scraper_list *list, struct gd_bytes *in)
{
	struct gd_scraper_list_entry entry = { .service = gd_bytes_u32(in) };
	size_t url_len = gd_bytes_u16(in);
	size_t histogram_len = gd_bytes_u16(in);
	uint32_t fast = gd_bytes_u32(in);
	GD_FREE char *url = take_text(in, url_len);
	GD_FREE char *histogram = take_text(in, histogram_len);
	if (in->bad || entry.service >= GD_POLICY_SERVICES_MAX || fast > 1 || url == NULL ||
	    histogram == NULL)
		return -EBADMSG;
	entry.fast = fast == 1;
	entry.url = gd_steal_ptr(&url);
	entry.histogram = gd_steal_ptr(&histogram);
	list->entries[list->arrived++] = entry;
	return 0;
}

int gd_scraper_list_take(struct gd_scraper_list **list, const struct gd_message *message,
                         const void *body, struct gd_error *err)
{
	struct gd_bytes in = gd_bytes_of(body, message->len);
	struct gd_scraper_list_head head = { 0 };
	head.generation = gd_bytes_u32(&in);
	head.n = gd_bytes_u32(&in);
	head.first = gd_bytes_u32(&in);
	head.here = gd_bytes_u32(&in);
	if (message->type != GD_SCRAPER_LIST || in.bad || head.n > GD_POLICY_SERVICES_MAX)
		return gd_fail(err, -EBADMSG, "no list of services");
	if (head.first == 0) {
		gd_scraper_list_free(*list);
		*list = create(&head);
		if (*list == NULL)
			return gd_fail_errno(err, -ENOMEM, "%u services", head.n);
	}
	if (*list == NULL || (*list)->n != head.n || (*list)->arrived != head.first ||
	    (*list)->generation != head.generation || head.here > head.n - head.first)
		return gd_fail(err, -EBADMSG, "a list of services that does not go on");
	for (uint32_t i = 0; i < head.here; i++)
		if (take_entry(*list, &in) < 0)
			return gd_fail(err, -EBADMSG, "an entry of the services that is none");
	return (*list)->arrived == (*list)->n;
}
