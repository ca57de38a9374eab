#!/usr/bin/env bash
# Writes the comment of the pull request that a run of contracts.yml was for, or updates it in place. Needs gh, jq, unzip,
# a streamforge in RUNNER_TEMP, and the variables that comment.yml sets. See services/internal/governance/comment.
set -euo pipefail
cd "$RUNNER_TEMP"

# Whose pull request it is says the event: the open one whose head is the commit that the run was for. A run that was
# overtaken by another push finds none, and leaves the word to the newer run.
number=$(gh api --method GET "repos/$REPOSITORY/pulls" -f state=open -f "head=$HEAD_OWNER:$HEAD_BRANCH" -f per_page=100 |
  jq -r --arg sha "$HEAD_SHA" '[.[] | select(.head.sha == $sha) | .number] | if length == 1 then .[0] else "none: \(length)" end')
if [[ ! $number =~ ^[0-9]+$ ]]; then
  echo "no comment: of the open pull requests not one has the head $HEAD_SHA (${number#none: } have); the result is in the run's summary"
  exit 0
fi

artifact=$(gh api --method GET "repos/$REPOSITORY/actions/runs/$RUN_ID/artifacts" -f name=pr-check |
  jq -r '[.artifacts[] | select(.name == "pr-check" and (.expired | not) and .size_in_bytes <= 2000000)] | last | .id // empty')
if [[ ! $artifact =~ ^[0-9]+$ ]]; then
  echo "no comment: run $RUN_ID handed nothing over; its log says why"
  exit 0
fi
gh api "repos/$REPOSITORY/actions/artifacts/$artifact/zip" > pr-check.zip
# One file by its name, so many bytes at most and no path of the archive's own: whatever else is in it stays there.
unzip -p pr-check.zip pr-check.json | head -c 8000000 > data.json
./streamforge pr-comment data.json > comment.md

marker='<!-- streamforge:pr-check '
existing=$(gh api --paginate "repos/$REPOSITORY/issues/$number/comments?per_page=100" |
  jq -s --arg marker "$marker" '[.[][] | select(.user.login == "github-actions[bot]" and (.body | startswith($marker)))] | first // empty')
if [ -z "$existing" ]; then
  # Nothing to say, and nothing said before: no noise.
  if [[ $(head -n 1 comment.md) == "${marker}unchanged -->" ]]; then
    echo "no comment: nothing changed"
    exit 0
  fi
  jq -Rs '{body: .}' comment.md | gh api --method POST "repos/$REPOSITORY/issues/$number/comments" --input - > /dev/null
  echo "commented on #$number"
  exit 0
fi
# GitHub hands a body back with its own line ends and without the last one.
if [[ $(jq -r .body <<< "$existing" | tr -d '\r') == "$(cat comment.md)" ]]; then
  echo "the comment on #$number says so already"
  exit 0
fi
id=$(jq -r .id <<< "$existing")
[[ $id =~ ^[0-9]+$ ]]
jq -Rs '{body: .}' comment.md | gh api --method PATCH "repos/$REPOSITORY/issues/comments/$id" --input - > /dev/null
echo "updated the comment on #$number"
