# Runs one command of the agent: bash [-l] shell.sh STATE COMMAND keep|leave
# STATE is what the last command left: variables, functions, aliases, folder. `keep`: so does this one, as STATE.new,
# which is whole when the list of its jobs is written. Nothing here is a process of its own: each would cost a millisecond.
_state=$1 _command=$2 _keep=$3
set --
cd "${_state%/*}/workspace" 2>/dev/null
if [ -e "$_state" ]; then
  compgen -e >"$_state.names"
  mapfile -t _names <"$_state.names"
  for _name in "${_names[@]}"; do
    case $_name in GIT_* | NIGHTSHIFT_* | HOME | TMPDIR | SHLVL | PWD | OLDPWD | _) ;; *) unset "$_name" ;; esac
  done
  # Who git is, whom it asks, and the marks of processes are not for a command to change.
  declare -px ${!GIT_*} ${!NIGHTSHIFT_*} >"$_state.fixed"
  . "$_state"
  . "$_state.fixed"
  unset _name _names
else
  PATH=$NIGHTSHIFT_PATH:$PATH # a login shell's profile may reset it: the machine's own comes first all the same
fi

if [ "$_keep" = keep ]; then
  # Functions before aliases, which would be expanded in them once more each time. `set` options are not kept: -e would
  # end the next command.
  _save='{
    {
      set +exu
      shopt -p extglob globstar nullglob dotglob
      declare -f
      declare -Fx
      shopt -p expand_aliases
      alias -p
      printf "cd -- %q 2>/dev/null || _gone=1\n" "$PWD"
      declare -px
      echo "[ -z \$_gone ] || { cd .; unset _gone; echo \"[that folder is gone; this is \$PWD]\"; }"
    } >"$_state.new" &&
    printf %s "$PWD" >"${_state%.*}.cwd" &&
    jobs -pr >"${_state%.*}.jobs"
  } 2>/dev/null'
  trap "[ -n \"\$_saved\" ] || $_save" EXIT
fi
. "$_command"
_code=$?
eval "$_save" # not left to the trap, instead of which the command may have one of its own
_saved=1
exit $_code
