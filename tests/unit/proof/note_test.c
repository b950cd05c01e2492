/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <stdlib.h>

#include "base/assert.h"
#include "proof/note_int.h"

/* The example of C2SP signed-note. */
#define EXAMPLE_KEY "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
#define EXAMPLE_NOTE                                                                               \
    "This is an example message.\n\n\xe2\x80\x94 example.com/foo "                                 \
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72Iney"     \
    "aQM=\n"

static struct sws_key key_of(const char *text)
{
    struct sws_key key;
    assert_int_equal(sws_key_parse(text, strlen(text), &key), SWS_PROOF_OK);
    return key;
}

static void test_the_example_of_the_standard(void **state)
{
    struct sws_key key = key_of(EXAMPLE_KEY);
    struct note note;
    uint64_t time = 7;
    assert_int_equal(note_parse(STR(EXAMPLE_NOTE), &note), SWS_PROOF_OK);
    assert_true(str_eq(note.text, STR("This is an example message.\n")));
    assert_int_equal(note_verify(&note, &key, &time), SWS_PROOF_OK);
    assert_int_equal(time, 0);
    key.id ^= 1; /* another key of that name */
    assert_int_equal(note_verify(&note, &key, &time), SWS_PROOF_LOG);
}

static void test_a_cosigned_checkpoint_of_others(void **state)
{
    size_t n, policy_n;
    uint32_t line;
    struct sws_policy policy;
    struct sws_checkpoint c;
    char *text = rig_file("tests/golden/proof/cosigned/checkpoint", &n);
    char *policy_text = rig_file("tests/golden/proof/cosigned/policy", &policy_n);
    assert_int_equal(sws_policy_parse(policy_text, policy_n, &policy, &line), SWS_PROOF_OK);
    assert_int_equal(sws_verify_checkpoint(text, n, &policy, &c), SWS_PROOF_OK);
    assert_true(c.size == 1432088532 && c.witness_count == 1 && c.witness_time == 1779573024);
    text[strlen("arche2025h1.staging.ct.transparency.dev\n1")] ^= 1;
    assert_int_equal(sws_verify_checkpoint(text, n, &policy, &c), SWS_PROOF_SIGNATURE);
    free(text);
    free(policy_text);
}

static void test_keys(void **state)
{
    static const char *const bad[] = {
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        "example.com/foo+530d903a+",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+0530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U==",
        "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "exa mple+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    };
    struct sws_key key;
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(sws_key_parse(bad[i], strlen(bad[i]), &key), SWS_PROOF_KEY);
    }
    static const char *const names[] = {
        "",           " ",    "a b",           "a+b",          "a\tb",
        "a\xc2\xa0z", "\xff", "a\xe3\x80\x80", "\xe2\x80\xa8", "a\x7f\xc2"};
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        assert_false(note_name_is_valid(str_of(names[i])));
    }
    assert_true(note_name_is_valid(STR("z\xc3\xbcrich.example/log")));
}

static void test_notes_have_one_form(void **state)
{
    static const char *const bad[] = {
        "",
        "\n",
        "\n\n",
        "text\n",
        "text\n\n",
        "text\n\n\xe2\x80\x94 a AAAAAAA=", /* no line end */
        "text\n\n- a AAAAAAA=\n",
        "text\n\n\xe2\x80\x94 a AAAA\n",     /* three bytes: no room for an id and a signature */
        "text\n\n\xe2\x80\x94 a AAAAAA==\n", /* an id and nothing */
        "text\n\n\xe2\x80\x94 a AAAAAAB=\n", /* spare bits */
        "text\n\n\xe2\x80\x94 a AAAA=AAA\n",
        "text\n\n\xe2\x80\x94 a AAA=AAA=\n",
        "text\n\n\xe2\x80\x94 a  AAAAAAA=\n",
        "text\n\n\xe2\x80\x94 a AAAAAAA= \n",
        "text\n\n\xe2\x80\x94 a+b AAAAAAA=\n",
        "text\n\n\xe2\x80\x94  AAAAAAA=\n",
        "te\txt\n\n\xe2\x80\x94 a AAAAAAA=\n",
        "text\r\n\n\xe2\x80\x94 a AAAAAAA=\n",
        "te\xffxt\n\n\xe2\x80\x94 a AAAAAAA=\n",
    };
    struct note note;
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(note_parse(str_of(bad[i]), &note), SWS_PROOF_SYNTAX);
    }
    struct str good = STR("a\n\nb\n\n\xe2\x80\x94 a AAAAAAA=\n");
    assert_int_equal(note_parse(good, &note), SWS_PROOF_OK);
    assert_true(str_eq(note.text, STR("a\n\nb\n"))); /* the last empty line counts */
}

static void test_notes_have_limits(void **state)
{
    struct buf b;
    struct note note;
    buf_init(&b, 0);
    buf_add_str(&b, STR("text\n\n"));
    for (unsigned i = 0; i < SWS_NOTE_SIGNATURES_MAX; i++) {
        buf_add_str(&b, STR("\xe2\x80\x94 a AAAAAAA=\n"));
    }
    assert_int_equal(note_parse(buf_str(&b), &note), SWS_PROOF_OK);
    buf_add_str(&b, STR("\xe2\x80\x94 a AAAAAAA=\n"));
    assert_int_equal(note_parse(buf_str(&b), &note), SWS_PROOF_LIMIT);
    while (b.n <= SWS_NOTE_BYTES_MAX) {
        buf_add_str(&b, STR("\xe2\x80\x94 a AAAAAAA=\n"));
    }
    assert_int_equal(note_parse(buf_str(&b), &note), SWS_PROOF_LIMIT);
    buf_done(&b);
}

/* ---- checkpoints under policies ---- */

#define WITNESSES 5

struct quorum_rig {
    struct secret *seeds[1 + WITNESSES]; /* the log's, then the witnesses' */
    struct sign_key keys[1 + WITNESSES];
    char names[1 + WITNESSES][16];
    struct buf texts[1 + WITNESSES]; /* verifier keys */
    struct buf policy_text;
    struct sws_policy policy;
};

static void rig_start(struct quorum_rig *rig)
{
    for (unsigned i = 0; i <= WITNESSES; i++) {
        snprintf(rig->names[i], sizeof(rig->names[i]), i ? "w%u.example" : "log.example", i);
        rig->seeds[i] = rig_seed((uint8_t)(i + 1));
        rig->keys[i] = (struct sign_key){.name = str_of(rig->names[i]),
                                         .type = i ? SWS_KEY_WITNESS : SWS_KEY_LOG,
                                         .seed = rig->seeds[i]};
        buf_init(&rig->texts[i], 0);
        assert_int_equal(sign_key_write(&rig->keys[i], &rig->texts[i]), ERR_OK);
    }
    buf_init(&rig->policy_text, 0);
}

static void rig_end(struct quorum_rig *rig)
{
    for (unsigned i = 0; i <= WITNESSES; i++) {
        secret_destroy(rig->seeds[i]);
        buf_done(&rig->texts[i]);
    }
    buf_done(&rig->policy_text);
}

/* `$0` to `$5` stand for the keys. Returns the error; the line in `ret_line`. */
static enum sws_proof_error rig_policy(struct quorum_rig *rig, const char *text, uint32_t *ret_line)
{
    buf_clear(&rig->policy_text);
    for (const char *p = text; *p; p++) {
        if (*p == '$') {
            buf_add_str(&rig->policy_text, buf_str(&rig->texts[*++p - '0']));
        } else {
            buf_add_char(&rig->policy_text, *p);
        }
    }
    *ret_line = 77;
    return sws_policy_parse(rig->policy_text.p, rig->policy_text.n, &rig->policy, ret_line);
}

/* A checkpoint signed by the keys whose bits are set, witnesses at times 1001 to 1005. */
static void rig_checkpoint(struct quorum_rig *rig, unsigned signers, struct buf *ret)
{
    static const uint8_t root[SWS_HASH_BYTES] = {1, 2, 3}, state_root[SWS_HASH_BYTES] = {4, 5};
    struct sign_checkpoint c = {rig->keys[0].name, 12, root, state_root};
    buf_clear(ret);
    assert_int_equal(sign_checkpoint_write(&c, ret), ERR_OK);
    for (unsigned i = 0; i <= WITNESSES; i++) {
        if (signers >> i & 1) {
            assert_int_equal(sign_note(&rig->keys[i], 1000 + i, ret), ERR_OK);
        }
    }
}

#define ALL_KEYS                                                                                   \
    "log $0\nwitness a $1\nwitness b $2 https://b.example/\nwitness c $3\nwitness d $4\n"          \
    "witness e $5\n"

static void test_quorums(void **state)
{
    static const struct {
        const char *policy;
        const char *needs; /* of each of the 32 sets of witnesses: whether it is enough */
    } cases[] = {
        {ALL_KEYS "quorum none\n", "++++++++++++++++++++++++++++++++"},
        {ALL_KEYS "quorum b", "--++--++--++--++--++--++--++--++"},
        {ALL_KEYS "group g any a b\nquorum g\n", "-+++-+++-+++-+++-+++-+++-+++-+++"},
        {ALL_KEYS "group g all a b\nquorum g\n", "---+---+---+---+---+---+---+---+"},
        {ALL_KEYS "group g 2 a b c\nquorum g\n", "---+-+++---+-+++---+-+++---+-+++"},
        {"# two operators\n\n" ALL_KEYS
         "  group\tx  2 a b c\ngroup y any d e\ngroup both all x y \nquorum both\n",
         "-----------+-+++---+-+++---+-+++"},
    };
    struct quorum_rig rig;
    struct buf note;
    rig_start(&rig);
    buf_init(&note, 0);
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        uint32_t line;
        assert_int_equal(rig_policy(&rig, cases[i].policy, &line), SWS_PROOF_OK);
        for (unsigned set = 0; set < 32; set++) {
            struct sws_checkpoint c;
            rig_checkpoint(&rig, set << 1 | 1, &note);
            enum sws_proof_error e = sws_verify_checkpoint(note.p, note.n, &rig.policy, &c);
            assert_int_equal(e, cases[i].needs[set] == '+' ? SWS_PROOF_OK : SWS_PROOF_QUORUM);
            if (!e) {
                assert_int_equal(c.witness_count, __builtin_popcount(set));
                assert_int_equal(c.witness_time, set ? 1032 - (unsigned)__builtin_clz(set) : 0);
                assert_true(c.size == 12 && c.root[1] == 2 && c.has_state && c.state_root[1] == 5);
                assert_true(str_eq(text_str(c.origin), STR("log.example")));
            }
        }
        rig_checkpoint(&rig, 62, &note); /* all but the log */
        struct sws_checkpoint c;
        assert_int_equal(sws_verify_checkpoint(note.p, note.n, &rig.policy, &c), SWS_PROOF_LOG);
    }
    buf_done(&note);
    rig_end(&rig);
}

static void test_wrong_policies_name_their_line(void **state)
{
    static const struct {
        const char *policy;
        uint32_t line;
    } cases[] = {
        {"", 0},
        {"log $0\n", 0},
        {"quorum nobody", 1},
        {"log $0\nlog $0\nquorum none\n", 2},
        {"log $1\nquorum none\n", 1},
        {"witness a $0\nquorum none\n", 1},
        {"witness a $1\nwitness a $2\nquorum none\n", 2},
        {"witness a $1\nwitness b $1\nquorum none\n", 2},
        {"witness none $1\nquorum none\n", 1},
        {"witness a $1 https://a.example more\nquorum none\n", 1},
        {"witness a\nquorum none\n", 1},
        {"witness\nquorum none\n", 1},
        {"witness a $1\ngroup g 2 a\nquorum g\n", 2},
        {"witness a $1\ngroup g 0 a\nquorum g\n", 2},
        {"witness a $1\ngroup g 01 a\nquorum g\n", 2},
        {"witness a $1\ngroup g all\nquorum g\n", 2},
        {"witness a $1\ngroup g\nquorum g\n", 2},
        {"witness a $1\ngroup g any a a\nquorum g\n", 2},
        {"witness a $1\ngroup g any a\ngroup h any a\nquorum g\n", 3},
        {"group g any a\nwitness a $1\nquorum g\n", 1},
        {"group g any g\nquorum g\n", 1},
        {"group g any none\nquorum g\n", 1},
        {"quorum a\nwitness a $1\n", 1},
        {"witness a $1\nquorum a\nquorum a\n", 3},
        {"witness a $1\nquorum a a\n", 2},
        {"quorum\n", 1},
        {"logs $0\nquorum none\n", 1},
        {"quorum none\r\n", 1},
        {"quorum none\n# \x01\n", 2},
    };
    struct quorum_rig rig;
    rig_start(&rig);
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        uint32_t line;
        enum sws_proof_error e = rig_policy(&rig, cases[i].policy, &line);
        assert_true(e == SWS_PROOF_POLICY || e == SWS_PROOF_KEY);
        assert_int_equal(line, cases[i].line);
    }
    rig_end(&rig);
}

static void test_a_policy_has_room_for_so_many(void **state)
{
    struct buf text;
    struct sws_policy *policy = mem_alloc(sizeof(*policy));
    uint32_t line;
    buf_init(&text, 0);
    assert_non_null(policy);
    for (unsigned i = 0; i <= SWS_POLICY_MEMBERS_MAX; i++) {
        struct secret *seed = rig_seed((uint8_t)i);
        char name[16];
        snprintf(name, sizeof(name), "w%u", i);
        struct sign_key key = {str_of(name), SWS_KEY_WITNESS, seed};
        buf_printf(&text, "witness %s ", name);
        assert_int_equal(sign_key_write(&key, &text), ERR_OK);
        buf_add_char(&text, '\n');
        secret_destroy(seed);
    }
    assert_int_equal(sws_policy_parse(text.p, text.n, policy, &line), SWS_PROOF_LIMIT);
    assert_int_equal(line, SWS_POLICY_MEMBERS_MAX + 1);
    buf_done(&text);
    mem_free(policy);
}

/* Every bit of a checkpoint whose every signature is known, or which needs all of them. */
static void test_every_bit_of_a_checkpoint_counts(void **state)
{
    struct quorum_rig rig;
    struct buf note;
    uint32_t line;
    struct sws_checkpoint c;
    rig_start(&rig);
    buf_init(&note, 0);
    assert_int_equal(rig_policy(&rig, "log $0\nwitness a $1\nquorum a\n", &line), SWS_PROOF_OK);
    rig_checkpoint(&rig, 3, &note);
    assert_int_equal(sws_verify_checkpoint(note.p, note.n, &rig.policy, &c), SWS_PROOF_OK);
    for (size_t bit = 0; bit < note.n * 8; bit++) {
        note.p[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_not_equal(sws_verify_checkpoint(note.p, note.n, &rig.policy, &c), SWS_PROOF_OK);
        note.p[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t n = 0; n < note.n; n++) {
        assert_int_not_equal(sws_verify_checkpoint(note.p, n, &rig.policy, &c), SWS_PROOF_OK);
    }
    buf_done(&note);
    rig_end(&rig);
}

static void test_checkpoints_have_one_form(void **state)
{
    static const char root[] = "AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    static const struct {
        const char *before, *after;
        enum sws_proof_error error;
    } cases[] = {
        {"log.example\n12\n", "\n", SWS_PROOF_OK},
        {"log.example\n12\n", "\nanything\nelse\n", SWS_PROOF_OK},
        {"log.example\n12\n", "\nstate/v2 x\n", SWS_PROOF_OK},
        {"log.example\n12\n", "\nstate/v1 x\n", SWS_PROOF_SYNTAX},
        {"log.example\n012\n", "\n", SWS_PROOF_SYNTAX},
        {"log.example\n18446744073709551615\n", "\n", SWS_PROOF_OK},
        {"log.example\n18446744073709551616\n", "\n", SWS_PROOF_SYNTAX},
        {"log.example\n-1\n", "\n", SWS_PROOF_SYNTAX},
        {"log.example\n\n", "\n", SWS_PROOF_SYNTAX},
        {"log.example\n12\n", "A\n", SWS_PROOF_SYNTAX},
        {"log.example\n12 \n", "\n", SWS_PROOF_SYNTAX},
        {"\nlog.example\n12\n", "\n", SWS_PROOF_SYNTAX},
        {"other.example\n12\n", "\n", SWS_PROOF_LOG},
        {"log.example\n12\n", "\na\n\nb\n", SWS_PROOF_SYNTAX},
    };
    struct quorum_rig rig;
    struct buf note;
    uint32_t line;
    rig_start(&rig);
    buf_init(&note, 0);
    assert_int_equal(rig_policy(&rig, "log $0\nquorum none\n", &line), SWS_PROOF_OK);
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        struct sws_checkpoint c;
        buf_clear(&note);
        buf_printf(&note, "%s%s%s\n", cases[i].before, root, cases[i].after);
        assert_int_equal(sign_note(&rig.keys[0], 0, &note), ERR_OK);
        assert_int_equal(sws_verify_checkpoint(note.p, note.n, &rig.policy, &c), cases[i].error);
    }
    /* Two state roots, and a text that is too long. */
    struct sws_checkpoint c;
    buf_clear(&note);
    buf_printf(&note, "log.example\n1\n%s\nstate/v1 %s\nstate/v1 %s\n\n", root, root, root);
    assert_int_equal(sign_note(&rig.keys[0], 0, &note), ERR_OK);
    assert_int_equal(sws_verify_checkpoint(note.p, note.n, &rig.policy, &c), SWS_PROOF_SYNTAX);
    buf_clear(&note);
    buf_printf(&note, "log.example\n1\n%s\n%*s\n\n", root, SWS_CHECKPOINT_BYTES_MAX, "x");
    assert_int_equal(sign_note(&rig.keys[0], 0, &note), ERR_LIMIT);
    buf_add_str(&note, STR("\xe2\x80\x94 a AAAAAAA=\n"));
    assert_int_equal(sws_verify_checkpoint(note.p, note.n, &rig.policy, &c), SWS_PROOF_LIMIT);
    buf_done(&note);
    rig_end(&rig);
}

/* A known key whose signature is wrong refuses all; an unknown one is ignored. */
static void test_signatures_of_others(void **state)
{
    struct quorum_rig rig;
    struct buf note;
    uint32_t line;
    struct sws_checkpoint c;
    rig_start(&rig);
    buf_init(&note, 0);
    assert_int_equal(rig_policy(&rig, "log $0\nwitness a $1\nquorum none\n", &line), SWS_PROOF_OK);
    rig_checkpoint(&rig, 1 | 4 | 8, &note);
    assert_int_equal(sws_verify_checkpoint(note.p, note.n, &rig.policy, &c), SWS_PROOF_OK);
    assert_int_equal(c.witness_count, 0);
    /* The same key twice is one witness, at its latest time. */
    rig_checkpoint(&rig, 1, &note);
    assert_int_equal(sign_note(&rig.keys[1], 5, &note), ERR_OK);
    assert_int_equal(sign_note(&rig.keys[1], 4, &note), ERR_OK);
    assert_int_equal(sws_verify_checkpoint(note.p, note.n, &rig.policy, &c), SWS_PROOF_OK);
    assert_true(c.witness_count == 1 && c.witness_time == 5);
    /* Wrong under a name that is known. */
    struct sign_key forged = rig.keys[1];
    forged.seed = rig.seeds[2];
    size_t before = note.n;
    assert_int_equal(sign_note(&forged, 6, &note), ERR_OK);
    assert_int_equal(sws_verify_checkpoint(note.p, note.n, &rig.policy, &c), SWS_PROOF_OK);
    note.n = before;
    note.p[note.n - 5] ^= 1;
    assert_int_equal(sws_verify_checkpoint(note.p, note.n, &rig.policy, &c), SWS_PROOF_SIGNATURE);
    /* The log as its own witness, and the other way round. */
    struct sign_key swapped = {rig.keys[0].name, SWS_KEY_WITNESS, rig.seeds[0]};
    rig_checkpoint(&rig, 0, &note);
    assert_int_equal(sign_note(&swapped, 1, &note), ERR_OK);
    assert_int_equal(sws_verify_checkpoint(note.p, note.n, &rig.policy, &c), SWS_PROOF_LOG);
    struct sws_key witness = key_of((buf_add_char(&rig.texts[1], '\0'), rig.texts[1].p));
    assert_int_equal(sws_policy_of_log(&witness, &rig.policy), SWS_PROOF_KEY);
    buf_done(&note);
    rig_end(&rig);
}

/* ---- writing ---- */

static void test_bad_names_and_times(void **state)
{
    struct secret *seed = rig_seed(9);
    struct sign_key key = {STR("a b"), SWS_KEY_LOG, seed};
    struct buf b;
    static const uint8_t root[SWS_HASH_BYTES] = {0};
    struct sign_checkpoint c = {STR("two\nlines"), 1, root, NULL};
    buf_init(&b, 0);
    assert_int_equal(sign_key_write(&key, &b), ERR_SYNTAX);
    assert_int_equal(sign_checkpoint_write(&c, &b), ERR_SYNTAX);
    c.origin = STR("");
    assert_int_equal(sign_checkpoint_write(&c, &b), ERR_SYNTAX);
    c.origin = STR("a");
    assert_int_equal(b.n, 0);
    assert_int_equal(sign_checkpoint_write(&c, &b), ERR_OK);
    assert_int_equal(sign_note(&key, 0, &b), ERR_SYNTAX);
    key = (struct sign_key){STR("w"), SWS_KEY_WITNESS, seed};
    assert_int_equal(sign_note(&key, UINT64_MAX / 2 + 1, &b), ERR_RANGE);
    buf_add_str(&b, STR("garbage"));
    assert_int_equal(sign_note(&key, 1, &b), ERR_SYNTAX);
    buf_done(&b);
    secret_destroy(seed);
}

static enum err write_all(const struct sign_key *key, struct buf *out)
{
    static const uint8_t root[SWS_HASH_BYTES] = {0};
    struct sign_checkpoint c = {STR("a"), 1, root, root};
    buf_clear(out);
    enum err e = sign_checkpoint_write(&c, out);
    e = e ? e : sign_note(key, 0, out);
    struct buf text;
    buf_init(&text, 0);
    e = e ? e : sign_key_write(key, &text);
    buf_done(&text);
    return e;
}

static void test_writing_without_memory(void **state)
{
    struct secret *seed = rig_seed(9);
    struct sign_key key = {STR("log.example"), SWS_KEY_LOG, seed};
    struct buf b;
    unsigned long n = 0;
    enum err e;
    do {
        buf_init(&b, 0);
        mem_test_fail_at(++n);
        e = write_all(&key, &b);
        mem_test_fail_at(0);
        assert_true(e == ERR_OK || e == ERR_NOMEM);
        buf_done(&b);
    } while (e);
    assert_true(n > 3);
    secret_destroy(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_example_of_the_standard),
        cmocka_unit_test(test_a_cosigned_checkpoint_of_others),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_notes_have_one_form),
        cmocka_unit_test(test_notes_have_limits),
        cmocka_unit_test(test_quorums),
        cmocka_unit_test(test_wrong_policies_name_their_line),
        cmocka_unit_test(test_a_policy_has_room_for_so_many),
        cmocka_unit_test(test_every_bit_of_a_checkpoint_counts),
        cmocka_unit_test(test_checkpoints_have_one_form),
        cmocka_unit_test(test_signatures_of_others),
        cmocka_unit_test(test_bad_names_and_times),
        cmocka_unit_test(test_writing_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
