#pragma once
/*
 * What travels between whoever asks and the scraper: the list of services, in as many messages as it
 * takes, and samples back (see scraper.h).
 */
#include <stdbool.h>
#include <stdint.h>

#include "agent/scraper.h"
#include "base/message.h"

enum gd_scraper_record {
	GD_SCRAPER_LIST = 1, /* to the scraper: gd_scraper_list_head, then entries */
	GD_SCRAPER_SAMPLE,   /* from it: gd_scraper_sample */
};

struct gd_scraper_list_head {
	uint32_t generation;
	uint32_t n;     /* entries in all messages */
	uint32_t first; /* number of the first one here */
	uint32_t here;
};

/* An entry: this, the URL's bytes, the name's bytes. */
struct gd_scraper_list_item {
	uint32_t service;
	uint16_t url_len, histogram_len;
	uint32_t fast; /* 0 or 1 */
};

struct gd_scraper_list_entry {
	uint32_t service;
	bool fast;
	char *url, *histogram;
};

struct gd_scraper_list {
	uint32_t generation;
	size_t n, arrived;
	struct gd_scraper_list_entry *entries;
};

/*
 * Takes one message into *list (NULL at first; it may be replaced).  1: the list is whole; 0: more
 * will come; -EBADMSG.
 */
int gd_scraper_list_take(struct gd_scraper_list **list, const struct gd_message *message,
                         const void *body, struct gd_error *err);

void gd_scraper_list_free(struct gd_scraper_list *list); /* NULL allowed */
