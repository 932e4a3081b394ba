#!/usr/bin/env bash
# The tutorial's steps with the Azure CLI, which takes the account from AZURE_BATCH_ENDPOINT, _ACCOUNT and _ACCESS_KEY.
set -euo pipefail
az=$1
"$az" batch pool create --id pool --vm-size STANDARD_D2_V3 --target-dedicated-nodes 1 \
  --image canonical:ubuntu-24_04-lts:server --node-agent-sku-id "batch.node.ubuntu 24.04"
"$az" batch job create --id job --pool-id pool
"$az" batch task create --job-id job --task-id task --command-line "/bin/bash -c 'echo said by the task'" --output none
for _ in $(seq 60); do
  [[ $("$az" batch task show --job-id job --task-id task --query state --output tsv) == completed ]] && break
done
[[ $("$az" batch task show --job-id job --task-id task --query executionInfo.exitCode --output tsv) == 0 ]]
file=$(mktemp --dry-run)
"$az" batch task file download --job-id job --task-id task --file-path stdout.txt --destination "$file" --output none
[[ $(cat "$file") == "said by the task" ]]
rm "$file"
"$az" batch job delete --job-id job --yes
"$az" batch pool delete --pool-id pool --yes
echo done
