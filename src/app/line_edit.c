#include "app/line_edit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"

enum { LINE_HISTORY_BYTES = 1 << 20, LINE_COLUMNS = 80 };
#define LINE_CTRL(c) ((c)&0x1f)

enum line_key {
    KEY_UP = 1000,
    KEY_DOWN,
    KEY_LEFT,
    KEY_RIGHT,
    KEY_HOME,
    KEY_END,
    KEY_DELETE,
    KEY_NONE,
    KEY_EOF
};

struct line_edit {
    bool terminal;
    char *history_path;
    char *history[LINE_HISTORY_MAX];
    int history_count, history_at; /* at == count: the line that is being written */
    char *draft;
    line_complete_cb *complete;
    void *arg;
    const char *prompt;
    struct buf text;
    size_t at;
};

/* ---- history ---- */

void line_edit_remember(struct line_edit *l, const char *line)
{
    if (*line == '\0' || strchr(line, '\n') != NULL ||
        (l->history_count > 0 && strcmp(l->history[l->history_count - 1], line) == 0))
        return;
    if (l->history_count == LINE_HISTORY_MAX) {
        mem_free(l->history[0]);
        memmove(l->history, l->history + 1, (LINE_HISTORY_MAX - 1) * sizeof l->history[0]);
        l->history_count--;
    }
    l->history[l->history_count++] = mem_strdup(line);
}

static void line_history_load(struct line_edit *l)
{
    AUTO(mem_freep) char *text = NULL;
    if (l->history_path == NULL ||
        file_read(l->history_path, LINE_HISTORY_BYTES, &text, NULL, NULL) != 0)
        return;
    for (char *p = text, *end; *p != '\0'; p = end) {
        end = p + strcspn(p, "\n");
        if (*end == '\n')
            *end++ = '\0';
        line_edit_remember(l, p);
    }
}

static void line_history_save(const struct line_edit *l)
{
    struct buf b = BUF_INIT(LINE_HISTORY_BYTES);
    if (l->history_path == NULL || l->history_count == 0)
        return;
    for (int i = 0; i < l->history_count; i++)
        buf_addf(&b, "%s\n", l->history[i]);
    if (!buf_failed(&b))
        file_write(l->history_path, b.data, b.len, 0600, NULL);
    buf_fini(&b);
}

struct line_edit *line_edit_new(const char *history_path, line_complete_cb *complete, void *arg)
{
    struct line_edit *l = mem_new(sizeof *l);
    l->terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
    l->history_path = history_path != NULL ? mem_strdup(history_path) : NULL;
    l->complete = complete;
    l->arg = arg;
    buf_init(&l->text, LINE_MAX_BYTES);
    if (l->terminal)
        line_history_load(l);
    return l;
}

void line_edit_free(struct line_edit *l)
{
    if (l == NULL)
        return;
    if (l->terminal)
        line_history_save(l);
    for (int i = 0; i < l->history_count; i++)
        mem_free(l->history[i]);
    buf_fini(&l->text);
    mem_free(l->draft);
    mem_free(l->history_path);
    mem_free(l);
}

bool line_edit_is_terminal(const struct line_edit *l)
{
    return l->terminal;
}

/* ---- the screen ---- */

static void line_put(const char *p, size_t n)
{
    while (n > 0) {
        ssize_t put = write(STDOUT_FILENO, p, n);
        if (put < 0 && errno != EINTR)
            return;
        p += put > 0 ? put : 0;
        n -= put > 0 ? (size_t)put : 0;
    }
}

static size_t line_columns(void)
{
    struct winsize w;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 10 ? w.ws_col : LINE_COLUMNS;
}

static bool line_continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* One screen line: what does not fit is moved out on the left. */
static void line_show(const struct line_edit *l)
{
    const char *text = buf_str(&l->text);
    size_t prompt = str_utf8_len(l->prompt, strlen(l->prompt)), room = line_columns() - prompt - 1;
    size_t from = 0, cursor = str_utf8_len(text, l->at);
    for (; cursor >= room; cursor--)
        for (from++; line_continues(text[from]); from++)
            continue;
    size_t to = from, shown = 0;
    for (; to < l->text.len && shown < room; shown++)
        for (to++; to < l->text.len && line_continues(text[to]); to++)
            continue;
    AUTO(buf_fini) struct buf b = BUF_INIT(2 * LINE_MAX_BYTES);
    buf_addf(&b, "\r%s", l->prompt);
    buf_add(&b, text + from, to - from);
    buf_addf(&b, "\033[K\r\033[%zuC", prompt + cursor);
    line_put(b.data, b.len);
}

/* ---- the text ---- */

static size_t line_before(const struct line_edit *l, size_t at)
{
    const char *text = buf_str(&l->text);
    if (at > 0)
        at--;
    while (at > 0 && line_continues(text[at]))
        at--;
    return at;
}

static size_t line_behind(const struct line_edit *l, size_t at)
{
    const char *text = buf_str(&l->text);
    if (at < l->text.len)
        at++;
    while (at < l->text.len && line_continues(text[at]))
        at++;
    return at;
}

static void line_replace(struct line_edit *l, size_t from, size_t to, const char *with, size_t n)
{
    struct buf b = BUF_INIT(LINE_MAX_BYTES);
    const char *text = buf_str(&l->text);
    buf_add(&b, text, from);
    buf_add(&b, with, n);
    buf_add(&b, text + to, l->text.len - to);
    if (buf_failed(&b)) {
        buf_fini(&b);
        return;
    }
    buf_fini(&l->text);
    l->text = b;
    l->at = from + n;
}

static void line_word_away(struct line_edit *l)
{
    const char *text = buf_str(&l->text);
    size_t from = l->at;
    while (from > 0 && text[from - 1] == ' ')
        from--;
    while (from > 0 && text[from - 1] != ' ')
        from--;
    line_replace(l, from, l->at, "", 0);
}

static void line_history_step(struct line_edit *l, int by)
{
    int to = l->history_at + by;
    if (to < 0 || to > l->history_count)
        return;
    if (l->history_at == l->history_count) {
        mem_free(l->draft);
        l->draft = mem_strdup(buf_str(&l->text));
    }
    l->history_at = to;
    const char *text = to == l->history_count ? l->draft : l->history[to];
    line_replace(l, 0, l->text.len, text, strlen(text));
}

/* How many bytes all choices begin with. */
static size_t line_common(const json_t *choices)
{
    const char *first = json_string_value(json_array_get(choices, 0));
    size_t n = strlen(first), i;
    json_t *one;
    json_array_foreach((json_t *)choices, i, one)
    {
        const char *s = json_string_value(one);
        size_t k = 0;
        while (k < n && s[k] == first[k])
            k++;
        n = k;
    }
    return n;
}

static void line_list(const json_t *choices)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(LINE_MAX_BYTES);
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)choices, i, one)
    {
        if (i == LINE_CHOICES_SHOWN)
            break;
        buf_addf(&b, "%s%s", i > 0 ? "  " : "\r\n", json_string_value(one));
    }
    if (json_array_size(choices) > LINE_CHOICES_SHOWN)
        buf_addf(&b, "  ... %zu more", json_array_size(choices) - LINE_CHOICES_SHOWN);
    buf_adds(&b, "\r\n");
    line_put(b.data, b.len);
}

static void line_tab(struct line_edit *l)
{
    AUTO(mem_freep) char *before = mem_strndup(buf_str(&l->text), l->at);
    size_t from = l->at;
    AUTO(json_unref)
    json_t *choices = l->complete != NULL ? l->complete(l->arg, before, &from) : NULL;
    if (json_array_size(choices) == 0)
        return;
    size_t n = line_common(choices);
    if (n > l->at - from)
        line_replace(l, from, l->at, json_string_value(json_array_get(choices, 0)), n);
    else if (json_array_size(choices) > 1)
        line_list(choices);
}

/* ---- keys ---- */

static int line_byte(void)
{
    for (;;) {
        unsigned char c;
        ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n == 1)
            return c;
        if (n == 0 || errno != EINTR)
            return KEY_EOF;
    }
}

static int line_escape(void)
{
    int c = line_byte();
    if (c != '[' && c != 'O')
        return KEY_NONE;
    c = line_byte();
    switch (c) {
    case 'A':
        return KEY_UP;
    case 'B':
        return KEY_DOWN;
    case 'C':
        return KEY_RIGHT;
    case 'D':
        return KEY_LEFT;
    case 'H':
        return KEY_HOME;
    case 'F':
        return KEY_END;
    default:
        break;
    }
    int number = c, next = c;
    while (next != KEY_EOF && (next < '@' || next > '~')) /* the last byte of a sequence */
        next = line_byte();
    if (next != '~')
        return KEY_NONE;
    return number == '3'                    ? KEY_DELETE
           : number == '1' || number == '7' ? KEY_HOME
           : number == '4' || number == '8' ? KEY_END
                                            : KEY_NONE;
}

static bool line_move(struct line_edit *l, int key)
{
    switch (key) {
    case KEY_LEFT:
    case LINE_CTRL('B'):
        l->at = line_before(l, l->at);
        return true;
    case KEY_RIGHT:
    case LINE_CTRL('F'):
        l->at = line_behind(l, l->at);
        return true;
    case KEY_HOME:
    case LINE_CTRL('A'):
        l->at = 0;
        return true;
    case KEY_END:
    case LINE_CTRL('E'):
        l->at = l->text.len;
        return true;
    case KEY_UP:
    case LINE_CTRL('P'):
        line_history_step(l, -1);
        return true;
    case KEY_DOWN:
    case LINE_CTRL('N'):
        line_history_step(l, 1);
        return true;
    default:
        return false;
    }
}

static void line_change(struct line_edit *l, int key)
{
    char c = (char)key;
    switch (key) {
    case 127:
    case LINE_CTRL('H'):
        line_replace(l, line_before(l, l->at), l->at, "", 0);
        return;
    case KEY_DELETE:
    case LINE_CTRL('D'): {
        size_t at = l->at;
        line_replace(l, at, line_behind(l, at), "", 0);
        return;
    }
    case LINE_CTRL('K'):
        line_replace(l, l->at, l->text.len, "", 0);
        return;
    case LINE_CTRL('U'):
        line_replace(l, 0, l->at, "", 0);
        return;
    case LINE_CTRL('W'):
        line_word_away(l);
        return;
    case LINE_CTRL('L'):
        line_put("\033[H\033[2J", 7);
        return;
    case '\t':
        line_tab(l);
        return;
    default:
        if (key >= ' ' && key < 127)
            line_replace(l, l->at, l->at, &c, 1);
        return;
    }
}

/* A character of several bytes, whole: half of one is never on the screen. */
static void line_insert_wide(struct line_edit *l, int first)
{
    char c[4] = {(char)first};
    size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    for (size_t i = 1; i < n; i++) {
        int next = line_byte();
        if (next == KEY_EOF)
            return;
        c[i] = (char)next;
    }
    if (str_is_utf8(c, n))
        line_replace(l, l->at, l->at, c, n);
}

static enum line_result line_edit_keys(struct line_edit *l)
{
    for (;;) {
        line_show(l);
        int key = line_byte();
        if (key == 27)
            key = line_escape();
        if (key == '\r' || key == '\n')
            return LINE_OK;
        if (key == LINE_CTRL('C'))
            return LINE_GIVEN_UP;
        if (key == KEY_EOF || (key == LINE_CTRL('D') && l->text.len == 0))
            return LINE_END;
        if (key >= 0xc0 && key < 256)
            line_insert_wide(l, key);
        else if (!line_move(l, key))
            line_change(l, key);
    }
}

static enum line_result line_read_pipe(char **out)
{
    struct buf b = BUF_INIT(LINE_MAX_BYTES);
    int c;
    while ((c = getchar()) != EOF && c != '\n')
        buf_addc(&b, (char)c);
    if (c == EOF && b.len == 0) {
        buf_fini(&b);
        return LINE_END;
    }
    *out = buf_take(&b);
    return LINE_OK;
}

enum line_result line_edit_read(struct line_edit *l, const char *prompt, char **out)
{
    struct termios before, raw;
    fflush(stdout);
    if (!l->terminal || tcgetattr(STDIN_FILENO, &before) != 0)
        return line_read_pipe(out);
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
    raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL | INLCR);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    buf_reset(&l->text);
    l->at = 0;
    l->prompt = prompt;
    l->history_at = l->history_count;
    enum line_result r = line_edit_keys(l);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    line_put("\r\n", 2);
    if (r == LINE_OK)
        *out = mem_strdup(buf_str(&l->text));
    return r;
}
