/* SPDX-License-Identifier: Apache-2.0 */
/* base/json: what is read is written and read as the same; no text costs more than the limits. */
#include <shale/base/json.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_json json_t *j = NULL, *again = NULL, *s = NULL;
	auto_free char *text = NULL, *text2 = NULL, *indented = NULL;
	auto_free char *raw = mem_strn((const char *)data, size);
	auto_strv struct strv list = { 0 };
	struct err err = { 0 }, err2 = { 0 };
	int rc = json_parse((const char *)data, size, &j, &err);

	must_tell(rc, &err);
	s = json_from_str(raw);
	must(json_is_string(s));
	if (rc < 0)
		return 0;
	text = json_text(j);
	indented = json_text_indent(j);
	must(json_parse(text, strlen(text), &again, &err2) >= 0);
	text2 = json_text(again);
	must(!strcmp(text, text2) && *indented);
	json_get_str(j, "a");
	json_get_int(j, "a", 0);
	json_get_bool(j, "a");
	json_get_strv(j, "a", &list);
	json_get_keys(j, "a", &list);
	return 0;
}
