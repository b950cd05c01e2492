/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An intrusive doubly linked ring. The head is a node of its own; an unlinked node points at
 * itself, so removing twice is harmless.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_insert_before(struct list *at, struct list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_before(head, node);
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Moves every node of `from` behind those of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_is_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define LIST_FOR_EACH(at, head) for (struct list *at = (head)->next; at != (head); at = at->next)

/* Allows removal of the current node. */
#define LIST_FOR_EACH_SAFE(at, spare, head)                                                        \
    for (struct list *at = (head)->next, *spare = at->next; at != (head);                          \
         at = spare, spare = at->next)
