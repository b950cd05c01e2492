/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/schema.h"

static void add_key(void *arg, const char *path, const struct conf_key *key)
{
    (void)key;
    buf_printf(arg, " %s", path);
}

void conf_completion_bash(const char *program, const struct conf_command *commands, size_t count,
                          struct buf *out)
{
    buf_printf(out,
               "# bash completion for %s; made from its tables\n"
               "_%s() {\n"
               "    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}\n"
               "    local keys='",
               program, program);
    conf_keys_walk(add_key, out);
    buf_add_str(out, STR("'\n    COMPREPLY=()\n    if ((COMP_CWORD == 1)); then\n"
                         "        COMPREPLY=($(compgen -W '"));
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%s%s", i > 0 ? " " : "", commands[i].name);
    }
    buf_add_str(out, STR("' -- \"$word\"))\n        return\n    fi\n    case $command in\n"));
    for (size_t i = 0; i < count; i++) {
        const char *options = commands[i].options != NULL ? commands[i].options : "";
        buf_printf(out,
                   "    %s)\n        if [[ $word == -* ]]; then\n"
                   "            COMPREPLY=($(compgen -W '%s' -- \"$word\"))\n            return\n"
                   "        fi\n",
                   commands[i].name, options);
        switch (commands[i].argument) {
        case CONF_ARGUMENT_FILE:
            buf_add_str(out, STR("        COMPREPLY=($(compgen -f -- \"$word\"))\n"));
            break;
        case CONF_ARGUMENT_DIRECTORY:
            buf_add_str(out, STR("        COMPREPLY=($(compgen -d -- \"$word\"))\n"));
            break;
        case CONF_ARGUMENT_KEY:
            buf_add_str(out, STR("        COMPREPLY=($(compgen -W \"$keys\" -- \"$word\"))\n"));
            break;
        case CONF_ARGUMENT_NONE:
            break;
        }
        buf_add_str(out, STR("        ;;\n"));
    }
    buf_printf(out, "    esac\n}\ncomplete -o filenames -F _%s %s\n", program, program);
}
