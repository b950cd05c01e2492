/* SPDX-License-Identifier: Apache-2.0 */
#include "os/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/assert.h"

enum err sandbox_drop_capabilities(void)
{
    cap_t none = cap_init();
    if (!none) {
        return ERR_NOMEM;
    }
    int failed = cap_set_proc(none);
    int cause = errno;
    cap_free(none);
    return failed ? err_from_errno(cause) : ERR_OK;
}

/* Of `wanted` those that we have. */
static enum err sandbox_keep(const cap_value_t *wanted, unsigned count)
{
    cap_t caps = cap_get_proc();
    cap_t kept = cap_init();
    int failed = !caps || !kept;
    for (unsigned i = 0; i < count && !failed; i++) {
        cap_flag_value_t is_permitted = CAP_CLEAR;
        failed |= cap_get_flag(caps, wanted[i], CAP_PERMITTED, &is_permitted);
        if (is_permitted == CAP_SET) {
            failed |= cap_set_flag(kept, CAP_PERMITTED, 1, &wanted[i], CAP_SET);
            failed |= cap_set_flag(kept, CAP_EFFECTIVE, 1, &wanted[i], CAP_SET);
        }
    }
    failed |= failed ? 0 : cap_set_proc(kept);
    int cause = errno;
    cap_free(caps);
    cap_free(kept);
    return failed ? err_from_errno(cause) : ERR_OK;
}

enum err sandbox_keep_reading(void)
{
    static const cap_value_t reading[] = {CAP_DAC_READ_SEARCH};
    return sandbox_keep(reading, COUNT_OF(reading));
}

enum err sandbox_keep_starting(void)
{
    static const cap_value_t starting[] = {CAP_SETUID,       CAP_SETGID,         CAP_KILL,
                                           CAP_DAC_OVERRIDE, CAP_CHOWN,          CAP_FOWNER,
                                           CAP_SYS_RESOURCE, CAP_DAC_READ_SEARCH};
    return sandbox_keep(starting, COUNT_OF(starting));
}

enum err sandbox_become_user(const char *name)
{
    if (geteuid() != 0) {
        return ERR_OK;
    }
    const struct passwd *user = getpwnam(name);
    if (!user) {
        return ERR_NOT_FOUND;
    }
    if (initgroups(name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
        setuid(user->pw_uid) != 0) {
        return err_from_errno(errno);
    }
    /* setuid(2) from root clears the sets; this also holds for a user that is root itself. */
    enum err e = sandbox_drop_capabilities();
    if (e) {
        return e;
    }
    /* Changing identity clears the flag that ties a child to its supervisor's life. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_DUMPABLE, 1);
    return ERR_OK;
}

static const int sandbox_refused[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(ptrace),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(bpf),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
};

enum err sandbox_limit_calls(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return ERR_UNSUPPORTED;
    }
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter) {
        return ERR_UNSUPPORTED;
    }
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    /* Nothing here runs foreign code, so the store-bypass mitigation would only cost time. */
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    int failed = 0;
    for (unsigned i = 0; i < COUNT_OF(sandbox_refused); i++) {
        failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), sandbox_refused[i], 0);
    }
    failed |= seccomp_load(filter);
    seccomp_release(filter);
    return failed ? ERR_UNSUPPORTED : ERR_OK;
}
