# Started as `bash shell.bash <command fd> <event fd>`: cells come in as frames and run in
# this shell, which keeps its state; what they print goes straight to descriptors 1 and 2.

# As a string, bash names no file in its messages and counts lines from the `eval` on line 1.
[[ ${BASH_EXECUTION_STRING-} ]] ||
    exec "$BASH" -c "__kr_eval() { eval \"\$1\"; }; $(<"$0")" bash "$@"

exec 198<&"$1" 199>&"$2"
eval "exec $1<&- $2>&-"
set --
shopt -s expand_aliases
__kr_status=0 __kr_stopped='' __kr_ended='' __kr_trace='' __kr_depth=$BASH_SUBSHELL __kr_cpu_ms=0
trap '' INT XFSZ  # a file that is too large is an error of the command

# A jail would tell of each write below /proc, so nothing is measured in one.
__kr_jailed=''
{ builtin read -r -N 4000 __kr_jailed </proc/self/status; } 2>/dev/null
[[ ! $__kr_jailed || $__kr_jailed == *NoNewPrivs:?1*Seccomp:?2* ]] && __kr_jailed=yes || __kr_jailed=''

# bash cannot set close-on-exec, but does on the copies it keeps of descriptors that a
# redirection covers.  Everything runs below such a redirection and uses those copies.
__kr_below() {
    __kr_in=10
    while [[ -e /proc/self/fd/$__kr_in ]]; do ((__kr_in += 1)); done
    __kr_out=$((__kr_in + 1))
    while [[ -e /proc/self/fd/$__kr_out ]]; do ((__kr_out += 1)); done
    "$@" 198<&- 199>&-
}

# __kr_start FRAME: say it, and serve until the commands end.
__kr_start() {
    trap __kr_leave EXIT
    builtin printf '%s\n' "$1" >&"$__kr_out"
    __kr_serve
}

__kr_serve() {
    local __kr_type __kr_length __kr_options __kr_body
    while IFS=' ' builtin read -r -u "$__kr_in" __kr_type __kr_length __kr_options; do
        __kr_body=''
        ((__kr_length == 0)) || LC_ALL=C IFS= builtin read -r -d '' -N "$__kr_length" -u "$__kr_in" __kr_body
        case $__kr_type in
            code) __kr_code "$__kr_body" ;;
            complete) __kr_complete "$__kr_body" "$__kr_options" ;;
            inspect) __kr_reply inspection '' "serial=${__kr_options##*serial=}" ;;
            is-complete) __kr_is_complete "$__kr_body" "serial=${__kr_options##*serial=}" ;;
        esac
    done
    __kr_ended=yes
}

# __kr_reply TYPE BODY KEYS: one frame; its length is counted in bytes.
__kr_reply() {
    local LC_ALL=C
    builtin printf '%s %d %s\n%s' "$1" "${#2}" "$3" "$2" >&"$__kr_out"
}

__kr_code() {
    __kr_stopped='' __kr_reason=''  # no locals: a cell would set them
    # the peak of its memory begins anew
    [[ $__kr_jailed ]] || { builtin printf 5 >|/proc/self/clear_refs; } 2>/dev/null
    __kr_cell "$1"
    # `set -x` is for the user's commands, not for ours
    { __kr_status=$? __kr_trace=${-//[!x]/}; set +x; } 2>/dev/null
    trap '' INT
    if [[ $__kr_stopped ]]; then
        trap - DEBUG
        shopt -u extdebug
        set +T
        __kr_status=$__kr_stopped
    elif ((__kr_status == 2)) && ! "$BASH" -O extglob -n <<<"$1" 2>/dev/null; then
        __kr_reason=' reason=error'
    fi
    [[ ! $__kr_jailed ]] && __kr_measure 2>/dev/null || __kr_usage=''
    builtin printf 'done 0 exit=%d%s%s\n' "$__kr_status" "$__kr_reason" "$__kr_usage" >&"$__kr_out"
}

# Set `__kr_usage` to what this shell and the children that it has waited for took since the last
# time.  Without a fork, `times` can only write into a file: that of a here-string, which is a pipe.
__kr_measure() {
    local times status minutes seconds total=0
    {
        builtin times >>/proc/self/fd/0
        builtin read -r -N 200 times  # to the end; by lines would be byte by byte
        builtin read -r -N 4000 status </proc/self/status
    } <<<''
    while [[ $times == *m*s* ]]; do
        minutes=${times%%m*} times=${times#*m}
        seconds=${times%%s*} times=${times#*s}
        ((total += 10#${minutes//[!0-9]/} * 60000 + 10#${seconds//[!0-9]/}))
    done
    [[ $status == *VmHWM:*kB* ]] || return
    status=${status#*VmHWM:}
    __kr_usage=" cpu_us=$(((total - __kr_cpu_ms) * 1000)) rss_kib=$((${status%%kB*}))"
    __kr_cpu_ms=$total
}

__kr_cell() {
    trap '__kr_stop 130' INT
    __kr_cell_depth=${#FUNCNAME[@]}
    [[ ! $__kr_trace ]] || __kr_trace='{ set -x; [[ $- == *e* ]] || (exit "$__kr_status"); } 2>/dev/null; '
    [[ $- == *e* ]] || (exit "$__kr_status")  # under `set -e` it would end the shell
    __kr_eval "$__kr_trace$1"
}

# End the cell with status $1 and keep the shell.  Under extdebug a DEBUG trap that returns 2
# makes the function around it return, so every function of the cell returns in turn.
__kr_stop() {
    __kr_stopped=$1
    shopt -s extdebug
    set -T
    trap __kr_unwind DEBUG
}

__kr_unwind() {
    ((${#FUNCNAME[@]} <= __kr_cell_depth)) || return 2
}

exit() {
    local __kr_code=${1-$?}
    ((BASH_SUBSHELL == __kr_depth)) || builtin exit "$__kr_code"
    __kr_stop "$((__kr_code & 255))"
}

__kr_complete() {
    local cursor=${2#*cursor=} serial=serial=${2##*serial=} head word
    head=${1:0:${cursor%% *}}
    word=${head##*[[:space:];|&()<>\`\"\']}
    local IFS=$'\n' kind=-c
    [[ $head != *[[:alnum:]]*[[:space:]]* || $head == *[\;\|\&\(][[:space:]]* ]] || kind=-f
    case $word in
        '$'*) set -- $(compgen -v -P '$' -- "${word#'$'}") ;;
        */*) set -- $(compgen -f -- "$word") ;;
        *) set -- $(compgen $kind -- "$word" | sort -u) ;;
    esac
    __kr_reply completion "$(builtin printf '%s\n' "$@" | grep -v '^__kr_')" "$serial"
}

__kr_is_complete() {
    local message status=complete
    if ! message=$("$BASH" -O extglob -n <<<"$1" 2>&1); then
        status=invalid
        [[ $message != *'unexpected end of file'* && $message != *'unexpected EOF'* ]] ||
            status=incomplete
    fi
    builtin printf 'completeness 0 %s status=%s\n' "$2" "$status" >&"$__kr_out"
}

# Whatever else leaves the shell (set -e, `builtin exit`, an unset variable under set -u):
# a subshell, which has all variables and functions, takes over; this one waits for it.
__kr_leave() {
    local __kr_code=$? __kr_how=''
    [[ ! $__kr_ended ]] || builtin exit "$__kr_code"
    trap '' INT
    # Some ways out undo redirections first, some do not.
    [[ ! -e /proc/self/fd/198 ]] || __kr_how=__kr_below
    (
        __kr_depth=$BASH_SUBSHELL __kr_cpu_ms=0
        set +eux
        $__kr_how __kr_start "done 0 exit=$__kr_code"
    )
}

__kr_below __kr_start "ready 0 version=$BASH_VERSION"
