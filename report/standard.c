#include <stdlib.h>
#include <string.h>

#include "report/groups.h"

/* First elements of import paths in Go's src/, Go 1.18 to 1.27, sorted; "vendor" is Go's own. */
static const char *const first_elements[] = {
	"archive", "bufio", "bytes", "cmp", "compress", "container", "context", "crypto",
	"database", "debug", "embed", "encoding", "errors", "expvar", "flag", "fmt", "go", "hash",
	"html", "image", "index", "internal", "io", "iter", "log", "maps", "math", "mime", "net",
	"os", "path", "plugin", "reflect", "regexp", "runtime", "slices", "sort", "strconv",
	"strings", "structs", "sync", "syscall", "testing", "text", "time", "unicode", "unique",
	"unsafe", "uuid", "vendor", "weak",
};

static int compare(const void *a, const void *b)
{
	const char *key = a;
	const char *const *element = b;
	return strcmp(key, *element);
}

/*
 * A function's name begins with its package's import path, whose first element ends at a slash or,
 * without one, at the dot before the name: "net/http.(*conn).serve", "main.f".  The standard
 * library has no dot in its first element, module paths of the world outside usually do.
 */
bool gd_groups_is_standard(const char *function)
{
	char first[16];
	size_t path = strcspn(function, "[("); /* type arguments and receivers have paths, too */
	const char *slash = memchr(function, '/', path);
	size_t n = slash != NULL ? (size_t)(slash - function) : strcspn(function, ".");
	if (n == 0 || n >= sizeof(first))
		return false;
	memcpy(first, function, n);
	first[n] = '\0';
	return bsearch(first, first_elements, sizeof(first_elements) / sizeof(first_elements[0]),
	               sizeof(first_elements[0]), compare) != NULL;
}
