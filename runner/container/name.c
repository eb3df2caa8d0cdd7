/* SPDX-License-Identifier: Apache-2.0 */
/* Names of containers, given and made up. */
#include <shale/container.h>

#include <ctype.h>
#include <string.h>
#include <sys/random.h>

#include "priv.h"

enum { NAME_MAX_LEN = 255 };

bool container_name_valid(const char *name)
{
	size_t n = strlen(name);

	/* Docker's rule; two characters at least. */
	if (n < 2 || n > NAME_MAX_LEN || !isalnum((unsigned char)name[0]))
		return false;
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_.-", *p))
			return false;
	return true;
}

/* 64 x 64: with the same name made up twice, create takes another. */
static const char *const adjectives[64] = {
	"able",   "amber",  "ample",  "aware",  "basic",  "blue",   "bold",  "brave",
	"brief",  "bright", "broad",  "calm",   "clear",  "clever", "cool",  "crisp",
	"deep",   "eager",  "early",  "easy",   "even",   "fair",   "fast",  "fine",
	"firm",   "fond",   "frank",  "fresh",  "gentle", "glad",   "good",  "grand",
	"great",  "green",  "happy",  "humble", "keen",   "kind",   "large", "light",
	"lively", "loyal",  "lucid",  "merry",  "mild",   "neat",   "noble", "open",
	"plain",  "proud",  "quick",  "quiet",  "rapid",  "ready",  "sharp", "silver",
	"smart",  "solid",  "steady", "sunny",  "swift",  "tidy",   "warm",  "wise",
};
static const char *const nouns[64] = {
	"agate",  "basalt", "bay",    "beach",  "birch",   "brook",  "canyon",  "cave",
	"cedar",  "chalk",  "cliff",  "cloud",  "coast",   "copper", "coral",   "cove",
	"crag",   "creek",  "delta",  "dune",   "falcon",  "fern",   "field",   "fjord",
	"flint",  "forest", "garnet", "geyser", "glacier", "gneiss", "granite", "grove",
	"harbor", "heron",  "hill",   "island", "jasper",  "lagoon", "lake",    "larch",
	"marble", "marsh",  "meadow", "mesa",   "moss",    "oak",    "onyx",    "opal",
	"otter",  "pebble", "pine",   "plain",  "quartz",  "reef",   "ridge",   "river",
	"schist", "slate",  "spruce", "stone",  "tundra",  "valley", "willow",  "wren",
};

char *container_name_random(void)
{
	unsigned char rnd[2] = { 0, 0 };

	while (getrandom(rnd, sizeof(rnd), 0) != (ssize_t)sizeof(rnd))
		;
	return mem_fmt("%s_%s", adjectives[rnd[0] & 63], nouns[rnd[1] & 63]);
}
