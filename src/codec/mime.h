/* MIME - the content type of a file that we serve, by the ending of its name. */
#ifndef KOAN_CODEC_MIME_H
#define KOAN_CODEC_MIME_H

/* Never NULL: "application/octet-stream" for what is not known. Text types carry their charset. */
const char *mime_of_path(const char *path);

#endif
