/* Versions as entity tags: If-Match, If-None-Match. */
#include <string.h>

#include "api/api_priv.h"
#include "base/str.h"

/* "7", with the quotes. */
static bool api_tag_parse(const char *s, size_t n, uint64_t *version)
{
    return n > 2 && s[0] == '"' && s[n - 1] == '"' && str_to_u64(s + 1, n - 2, version);
}

void api_etag(struct http_request *req, uint64_t version)
{
    char text[STR_U64_DIGITS + 3] = "\"";
    size_t n = str_from_u64(version, text + 1);
    text[1 + n] = '"';
    text[2 + n] = '\0';
    http_header(req, "ETag", text);
}

bool api_conditions(struct http_request *req, struct api_conditions *out)
{
    *out = (struct api_conditions){.none = false};
    const char *match = http_header_in(req, "If-Match");
    const char *none = http_header_in(req, "If-None-Match");
    if (match != NULL) {
        out->has_match = true;
        out->any = strcmp(match, "*") == 0;
        if (!out->any &&
            (!api_tag_parse(match, strlen(match), &out->version) || out->version == 0)) {
            http_refuse(req, ERR_INVALID,
                        "If-Match: '%.60s' is not the ETag of one version; send it as it came, "
                        "like \"7\" with the quotes, or *",
                        match);
            return false;
        }
    }
    if (none == NULL)
        return true;
    if (strcmp(none, "*") != 0 || match != NULL) {
        http_refuse(req, ERR_INVALID,
                    "If-None-Match: on a change only * is understood, and not beside If-Match");
        return false;
    }
    out->none = true;
    return true;
}

/* Is the version in a list of tags? A weak tag counts as `weak` says. */
static bool api_tags_have(const char *list, uint64_t version, bool weak)
{
    for (const char *p = list; *p != '\0';) {
        size_t n = strcspn(p, ",");
        const char *tag = p;
        size_t len = n;
        p += n + (p[n] == ',');
        while (len > 0 && (*tag == ' ' || *tag == '\t'))
            tag++, len--;
        while (len > 0 && (tag[len - 1] == ' ' || tag[len - 1] == '\t'))
            len--;
        if (len == 1 && *tag == '*')
            return true;
        if (weak && len > 2 && strncmp(tag, "W/", 2) == 0)
            tag += 2, len -= 2;
        uint64_t v;
        if (api_tag_parse(tag, len, &v) && v == version)
            return true;
    }
    return false;
}

bool api_fresh(struct http_request *req, uint64_t version)
{
    const char *match = http_header_in(req, "If-Match");
    if (match != NULL && !api_tags_have(match, version, false)) {
        http_refuse(req, ERR_VERSION_MISMATCH, "If-Match: the record has version %llu",
                    (unsigned long long)version);
        return false;
    }
    const char *none = http_header_in(req, "If-None-Match");
    if (none != NULL && api_tags_have(none, version, true)) {
        http_respond(req, 304, NULL, NULL, 0);
        return false;
    }
    return true;
}
