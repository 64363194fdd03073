#include "codec/markdown.h"

#include "base/buf.h"
#include "support/unit.h"

static void gives(const char *text, const char *html)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 16);
    markdown_html(text, strlen(text), &b);
    assert_string_equal(buf_str(&b), html);
}

TEST(blocks_become_elements)
{
    gives("", "");
    gives("# The Way - out\n\nOne\ntwo.\n\nThree\n",
          "<h1 id=\"the-way---out\">The Way - out</h1>\n<p>One\ntwo.</p>\n<p>Three</p>\n");
    gives("### a\nb\n", "<h3 id=\"a\">a</h3>\n<p>b</p>\n");
    gives("#no\n", "<p>#no</p>\n");
    gives("- a\n  more\n- b\n\n1. x\n2. y\n",
          "<ul>\n<li>a\nmore</li>\n<li>b</li>\n</ul>\n<ol>\n<li>x</li>\n<li>y</li>\n</ol>\n");
    gives("a\n- b\n", "<p>a</p>\n<ul>\n<li>b</li>\n</ul>\n");
}

TEST(code_is_kept_as_it_stands)
{
    gives("```lua\nif a < b then\n\n  *x* & \"y\"\nend\n```\nz\n",
          "<pre><code class=\"language-lua\">if a &lt; b then\n\n  *x* &amp; &quot;y&quot;\nend\n"
          "</code></pre>\n<p>z</p>\n");
    gives("```\nnever closed", "<pre><code class=\"language-\">never closed\n</code></pre>\n");
    gives("    a\n      b\n\n    c\n\nd\n", "<pre><code>a\n  b\n\nc\n</code></pre>\n<p>d</p>\n");
}

TEST(tables_have_a_head_when_a_rule_says_so)
{
    gives(
        "| A | B |\n| --- | :-: |\n| `a|b` | c \\| d |\n| e | |\n\nx\n",
        "<div class=\"table\"><table>\n<thead><tr><th>A</th><th>B</th></tr>\n</thead>\n<tbody><tr>"
        "<td><code>a|b</code></td><td>c | "
        "d</td></tr>\n<tr><td>e</td><td></td></tr>\n</tbody>\n</table></div>"
        "\n<p>x</p>\n");
    gives("| a | b |\n", "<div class=\"table\"><table>\n<tbody><tr><td>a</td><td>b</td></tr>\n"
                         "</tbody>\n</table></div>\n");
}

TEST(marks_inside_a_line)
{
    gives("a `b*c*` **d `e`** *f* 2 * 3 * 4 `x",
          "<p>a <code>b*c*</code> <strong>d <code>e</code></strong> <em>f</em> 2 * 3 * 4 `x</p>\n");
    gives("see [the *guide*](http.md#errors), [start](index.md), "
          "[web](https://example.org/a.md?x=1&y)",
          "<p>see <a href=\"http#errors\">the <em>guide</em></a>, <a href=\"./\">start</a>, "
          "<a href=\"https://example.org/a.md?x=1&amp;y\">web</a></p>\n");
}

TEST(nothing_becomes_html_by_itself)
{
    gives("<b>&\"", "<p>&lt;b&gt;&amp;&quot;</p>\n");
    gives("[x](javascript:alert)", "<p>[x](javascript:alert)</p>\n");
    gives("[x](a\"onclick=b)", "<p><a href=\"a&quot;onclick=b\">x</a></p>\n");
    gives("# <i>\n", "<h1 id=\"i\">&lt;i&gt;</h1>\n");
    gives("```\"><script>\n```\n", "<pre><code class=\"language-script\"></code></pre>\n");
    gives("[[[[](", "<p>[[[[](</p>\n");
    gives("**", "<p>**</p>\n");
    gives("|",
          "<div class=\"table\"><table>\n<tbody><tr><td></td></tr>\n</tbody>\n</table></div>\n");
}

TEST(the_title_is_the_first_heading)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 16);
    const char *text = "x\n## A & B\n# C\n";
    markdown_title(text, strlen(text), &b);
    assert_string_equal(buf_str(&b), "A &amp; B");
    buf_reset(&b);
    markdown_title("x", 1, &b);
    assert_int_equal(b.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(blocks_become_elements),
        HEAP_TEST(code_is_kept_as_it_stands),
        HEAP_TEST(tables_have_a_head_when_a_rule_says_so),
        HEAP_TEST(marks_inside_a_line),
        HEAP_TEST(nothing_becomes_html_by_itself),
        HEAP_TEST(the_title_is_the_first_heading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
