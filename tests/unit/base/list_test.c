#include "base/list.h"

#include "support/unit.h"

struct item {
    int value;
    struct list node;
};

static struct item items[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};

static int sum(struct list *head)
{
    int digits = 0;
    LIST_EACH(it, head)
    digits = digits * 10 + LIST_OF(it, struct item, node)->value;
    return digits;
}

TEST(order_is_that_of_pushing)
{
    struct list head;
    list_init(&head);
    assert_true(list_is_empty(&head));
    assert_null(list_pop(&head));
    list_push(&head, &items[1].node);
    list_push(&head, &items[2].node);
    list_push_front(&head, &items[3].node);
    assert_int_equal(sum(&head), 312);
    assert_ptr_equal(list_pop(&head), &items[3].node);
    assert_int_equal(sum(&head), 12);
}

TEST(a_removed_node_may_be_removed_again)
{
    struct list head;
    list_init(&head);
    for (int i = 1; i < 4; i++)
        list_push(&head, &items[i].node);
    list_remove(&items[2].node);
    list_remove(&items[2].node);
    assert_int_equal(sum(&head), 13);
}

TEST(the_body_may_remove_its_own_node)
{
    struct list head;
    list_init(&head);
    for (int i = 0; i < 4; i++)
        list_push(&head, &items[i].node);
    LIST_EACH_SAFE(it, &head)
    if (LIST_OF(it, struct item, node)->value % 2 == 0)
        list_remove(it);
    assert_int_equal(sum(&head), 13);
}

TEST(splicing_moves_all_to_the_end)
{
    struct list a, b;
    list_init(&a);
    list_init(&b);
    list_push(&a, &items[1].node);
    list_push(&b, &items[2].node);
    list_push(&b, &items[3].node);
    list_splice(&a, &b);
    list_splice(&a, &b);
    assert_int_equal(sum(&a), 123);
    assert_true(list_is_empty(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(order_is_that_of_pushing),
        HEAP_TEST(a_removed_node_may_be_removed_again),
        HEAP_TEST(the_body_may_remove_its_own_node),
        HEAP_TEST(splicing_moves_all_to_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
