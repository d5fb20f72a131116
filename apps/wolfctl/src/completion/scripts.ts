/**
 * What a shell has to know: it asks `wolfctl __complete` with the words so far and takes its lines, a word and its meaning each. Words
 * are taken as they are and never evaluated; `__complete` leaves out all that a shell could read as anything else.
 */

const bash = `# wolfctl completion for bash: source <(wolfctl completion bash)
_wolfctl() {
  local word about
  COMPREPLY=()
  while IFS=$'\\t' read -r word about; do
    if [[ $word == :files ]]; then
      compopt -o default 2>/dev/null
    elif [[ $word == "\${COMP_WORDS[COMP_CWORD]}"* ]]; then
      COMPREPLY+=("$word")
    fi
  done < <(wolfctl __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _wolfctl wolfctl
`;

const zsh = `#compdef wolfctl
# wolfctl completion for zsh: wolfctl completion zsh > "\${fpath[1]}/_wolfctl"
_wolfctl() {
  local word about files=0
  local -a found
  while IFS=$'\\t' read -r word about; do
    if [[ $word == :files ]]; then
      files=1
    else
      found+=("\${word//:/\\\\:}:$about")
    fi
  done < <(wolfctl __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  (( \${#found} )) && _describe wolfctl found
  (( files )) && _files
}
if [[ "$funcstack[1]" == _wolfctl ]]; then
  _wolfctl "$@"
else
  compdef _wolfctl wolfctl
fi
`;

const fish = `# wolfctl completion for fish: wolfctl completion fish > ~/.config/fish/completions/wolfctl.fish
function __wolfctl_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l lines (wolfctl __complete -- $words[2..-1] 2>/dev/null)
    if contains -- :files $lines
        __fish_complete_path (commandline -ct)
    end
    for line in $lines
        string match -q ':files' -- $line; or echo $line
    end
end
complete -c wolfctl -f -a '(__wolfctl_complete)'
`;

export const completionScripts = { bash, zsh, fish } as const;
export const shells = Object.keys(completionScripts) as (keyof typeof completionScripts)[];
