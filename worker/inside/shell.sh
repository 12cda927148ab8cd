# Runs one command of the agent: bash [-l] shell.sh STATE COMMAND keep|leave
# STATE is what the last command left: variables, functions, aliases, folder. `keep`: so does this one.
_state=$1 _command=$2 _keep=$3
set --
cd "${_state%/*}/workspace" 2>/dev/null
if [ -e "$_state" ]; then
  for _name in $(compgen -e); do
    case $_name in GIT_* | NIGHTSHIFT_* | HOME | TMPDIR | SHLVL | PWD | OLDPWD | _) ;; *) unset "$_name" ;; esac
  done
  # Who git is, whom it asks, and the marks of processes are not for a command to change.
  _fixed=$(declare -px ${!GIT_*} ${!NIGHTSHIFT_*})
  . "$_state"
  eval "$_fixed"
  unset _name _fixed
else
  PATH=$NIGHTSHIFT_PATH:$PATH # a login shell's profile may reset it: the machine's own comes first all the same
fi

if [ "$_keep" = keep ]; then
  # Functions before aliases, which would be expanded in them once more each time. `set` options are not kept: -e would
  # end the next command.
  _save='{
    set +exu
    shopt -p extglob globstar nullglob dotglob
    declare -f
    declare -Fx
    shopt -p expand_aliases
    alias -p
    printf "cd -- %q 2>/dev/null || _gone=1\n" "$PWD"
    declare -px
    echo "[ -z \$_gone ] || { cd .; unset _gone; echo \"[that folder is gone; this is \$PWD]\"; }"
  } >"$_state.new" 2>/dev/null
  {
    command -p mv -f "$_state.new" "$_state"
    printf %s "$PWD" >"${_state%.*}.cwd"
    jobs -pr >"${_state%.*}.jobs"
  } 2>/dev/null'
  trap "$_save" EXIT
fi
. "$_command"
_code=$?
case $(trap -p EXIT) in *_state.new*) ;; *) eval "$_save" ;; esac # the command has a trap of its own
exit $_code
