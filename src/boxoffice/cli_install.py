"""What an installation is made and tried with: `boxoffice secrets`, `crd`, `openapi`, `smoke`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer
import yaml

from boxoffice import crd as definitions, definition, keychain
from boxoffice.console import examples, open_office, run
from boxoffice.kubeapi import Account, open_kube_api

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "boxoffice secrets | kubectl create -f -",
        "boxoffice secrets --keys shop-keys --admin shop-admin > secrets.yaml    # to be sealed and committed",
        "boxoffice secrets --create    # inside a cluster, as the chart's Job does",
    )
)
def secrets(
    keys: Annotated[str, typer.Option(help="Name of the Secret with the signing keys.")] = "boxoffice-keys",
    admin: Annotated[str, typer.Option(help="Name of the Secret with the admin token.")] = "boxoffice-admin",
    create: Annotated[bool, typer.Option("--create", help="Make them in the cluster, where they are missing.")] = False,
) -> None:
    """Prints new signing keys and a new admin token as Kubernetes Secrets, or makes them."""
    manifests = [keychain.keys_secret(keys), keychain.admin_secret(admin)]
    if not create:
        typer.echo(yaml.safe_dump_all(manifests, sort_keys=False), nl=False)
        return
    run(_create(manifests))


async def _create(manifests: list[dict[str, Any]]) -> None:
    async with open_kube_api(Account.of_this_pod()) as api:
        for manifest in manifests:
            made = await keychain.create(api, manifest)
            typer.echo(f"secret/{manifest['metadata']['name']} {'created' if made else 'is there already'}")


@app.command(
    epilog=examples(
        "boxoffice crd | kubectl apply --server-side -f -",
        "boxoffice crd --apply    # inside a cluster, as the chart's Job does",
    )
)
def crd(
    apply: Annotated[bool, typer.Option("--apply", help="Bring it into the cluster, unless a newer is there.")] = False,
) -> None:
    """Prints the definition of ConcertSale for a cluster, or brings it there."""
    if apply:
        run(_apply())
    else:
        typer.echo(definitions.manifest(), nl=False)


async def _apply() -> None:
    async with open_kube_api(Account.of_this_pod()) as api:
        typer.echo(f"customresourcedefinition/{definitions.NAME} {await definition.apply(api)}")


@app.command(
    epilog=examples(
        "boxoffice openapi > openapi.json",
        "boxoffice openapi | jq -r '.paths | keys[]'    # what there is",
    )
)
def openapi() -> None:
    """Prints the buyers' API as an OpenAPI document; a running `serve` has it at /openapi.json."""
    from boxoffice.openapi import DOCUMENT

    typer.echo(msgspec.json.format(msgspec.json.encode(DOCUMENT), indent=2))


@app.command(
    epilog=examples(
        "boxoffice smoke",
        "boxoffice smoke --url http://shop-boxoffice-app    # as `helm test` does",
    )
)
def smoke(url: Annotated[str, typer.Option(help="Where the buyers' API is.")] = "http://127.0.0.1:8083") -> None:
    """Buys one seat, from entering the line to paid, on a throw-away sale that no list shows, and erases it.

    The sale is made and erased by the engines' settings; only the buyer goes over HTTP. Ends with 0 when the seat
    was paid and the audit found no difference.
    """
    run(_smoke(url))


async def _smoke(url: str) -> None:
    from boxoffice.smoke import smoke as walk

    async with open_office() as office:
        await walk(office, url, typer.echo)
