#!/usr/bin/env bash
# Make what topn needs in Azure: a resource group with a storage account, a Batch account and an identity for the worker.
#
# Its commands are written down first and then run: what --dry-run shows is what runs otherwise, to the letter, and a
# script of its own. All of them may be repeated; an account that is there already gets the settings asked for.
#
# Checked: shellcheck, of this file and of what it writes; each command and option by the parser of azure-cli 2.91.0;
# the roles by Microsoft's "Role-based access control for Azure Batch service" and the definitions of the storage roles.
# Not tried: any of it against a subscription.
set -euo pipefail

usage() {
  cat <<'END'
usage: deployments/azure/create.sh NAME --location REGION [options]

NAME (3 to 24 lower-case letters and digits, not taken by any storage account in the world) becomes the name of the
resource group, the storage account, the Batch account and the managed identity. REGION is a short name such as
westeurope; `az account list-locations --output table` lists them.

  --me            give the signed-in user the same two roles, to run topn by hand
  --shared-key    let the storage account be used with its keys too, not with Entra ID alone
  --auto-storage  link the storage account to the Batch account (topn itself needs no such link); with --shared-key
  --print-keys    print the accounts' keys as well; with --shared-key
  --dry-run       print the commands and run none
  --help          print this

Prints the environment variables to export; what it is doing goes to stderr.
To delete all of it again, whatever it holds:  az group delete --name NAME
END
}

refuse() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit 2
}

# The words: which account, where, and who may use it.
name='' location='' me='' shared_key=false auto_storage='' print_keys='' dry_run=''
while (($#)); do
  case $1 in
    --location)
      (($# > 1)) || refuse "--location needs a region, such as westeurope."
      location=$2
      shift
      ;;
    --me) me=yes ;;
    --shared-key) shared_key=true ;;
    --auto-storage) auto_storage=yes ;;
    --print-keys) print_keys=yes ;;
    --dry-run) dry_run=yes ;;
    --help) usage && exit ;;
    -*) refuse "There is no option $1: see --help." ;;
    *)
      [[ -z $name ]] || refuse "One name is enough: $name or $1."
      name=$1
      ;;
  esac
  shift
done
[[ -n $name ]] || refuse "A name is missing: see --help."
LC_ALL=C  # so that a-z is 26 letters
[[ $name =~ ^[a-z0-9]{3,24}$ ]] || refuse "The name '$name' will not do: 3 to 24 lower-case letters and digits."
[[ -n $location ]] || refuse "--location is missing: the region to use, such as westeurope."
[[ $location =~ ^[a-z][a-z0-9]+$ ]] || refuse "The region '$location' will not do: its short name, such as westeurope."
for option in ${auto_storage:+--auto-storage} ${print_keys:+--print-keys}; do
  [[ $shared_key == true ]] || refuse "$option works with account keys only: add --shared-key."
done

# Two roles suffice. Azure Batch Data Contributor: pools, jobs and tasks of this account, but not its keys.
# Storage Blob Data Contributor: containers and blobs of this account, and signing user-delegation SAS (it includes what
# Storage Blob Delegator allows). On the account, not on a container, as each run makes containers of its own.
roles_for() { # PRINCIPAL_TYPE, of the principal whose id is in $principal
  cat <<END
az role assignment create --assignee-object-id "\$principal" --assignee-principal-type $1 \\
  --role "Azure Batch Data Contributor" --scope "\$batch" --output none
az role assignment create --assignee-object-id "\$principal" --assignee-principal-type $1 \\
  --role "Storage Blob Data Contributor" --scope "\$storage" --output none
END
}

commands() {
  cat <<END
set -euo pipefail
name=$name
location=$location
shared_key=$shared_key

END
  cat <<'END'
echo "Resource group $name in $location ..." >&2
there=$(az group exists --name "$name")
if [ "$there" != true ]; then # creating one anew would clear its tags
  az group create --name "$name" --location "$location" --output none
fi

echo "Storage account $name ..." >&2
az storage account create --name "$name" --resource-group "$name" --location "$location" \
  --kind StorageV2 --sku Standard_LRS --https-only true --min-tls-version TLS1_2 \
  --allow-blob-public-access false --allow-shared-key-access "$shared_key" --output none
storage=$(az storage account show --name "$name" --resource-group "$name" --query id --output tsv)

# Without a key vault its nodes are Batch's own (pool allocation mode BatchService). Creating cannot update an account.
echo "Batch account $name ..." >&2
there=$(az batch account list --resource-group "$name" --query "[?name=='$name'].name" --output tsv)
if [ -z "$there" ]; then
  az batch account create --name "$name" --resource-group "$name" --location "$location" --output none
fi
END
  if [[ $auto_storage ]]; then
    cat <<'END'
az batch account set --name "$name" --resource-group "$name" --storage-account "$storage" --output none
END
  fi
  cat <<'END'
batch=$(az batch account show --name "$name" --resource-group "$name" --query id --output tsv)
endpoint=$(az batch account show --name "$name" --resource-group "$name" --query accountEndpoint --output tsv)

echo "Managed identity $name and its roles ..." >&2
az identity create --name "$name" --resource-group "$name" --location "$location" --output none
client=$(az identity show --name "$name" --resource-group "$name" --query clientId --output tsv)
principal=$(az identity show --name "$name" --resource-group "$name" --query principalId --output tsv)
END
  roles_for ServicePrincipal
  if [[ $me ]]; then
    cat <<'END'

echo "Your own roles ..." >&2
principal=$(az ad signed-in-user show --query id --output tsv)
END
    roles_for User
  fi
  cat <<'END'

echo "Done; roles may take some minutes to work. For the shell that runs topn or its worker:" >&2
echo "export AZURE_BATCH_ENDPOINT=https://$endpoint"
echo "export AZURE_BATCH_ACCOUNT=$name"
echo "export AZURE_BATCH_ACCOUNT_ID=$batch"
echo "export AZURE_STORAGE_ACCOUNT=$name"
echo "# only where the managed identity $name is assigned:  export AZURE_CLIENT_ID=$client"
END
  if [[ $print_keys ]]; then
    cat <<'END'
batch_key=$(az batch account keys list --name "$name" --resource-group "$name" --query primary --output tsv)
storage_key=$(az storage account keys list --account-name "$name" --resource-group "$name" \
  --query "[0].value" --output tsv)
echo "export AZURE_BATCH_ACCESS_KEY=$batch_key"
echo "export AZURE_STORAGE_KEY=$storage_key"
END
  fi
}

if [[ $dry_run ]]; then
  commands
  exit
fi
command -v az >/dev/null || refuse "There is no az on PATH: install the Azure CLI, or see the commands with --dry-run."
bash -c "$(commands)" || {
  echo "Stopped. What was made is kept: the same command goes on from there; az group delete --name $name removes it." >&2
  exit 1
}
