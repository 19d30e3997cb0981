//! What an operator of a cluster needs.

use taskplane_domain::Name;
use taskplane_domain::uid::SpaceUid;
use taskplane_manifest::{Space, furniture};

use super::space;
use crate::args::SpaceManifestArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::names;

/// Prints what the Space has in a cluster, for `kubectl apply -f -`. It is the same whatever the form of other answers.
pub async fn space_manifest(context: &Context, args: SpaceManifestArgs) -> Result<(), Failure> {
    let found = space::get(context, &args.name).await?;
    let broken = |what: &str| Failure::Usage(format!("the api told a Space whose {what} cannot be read"));
    let name: Name = names::last(&found.name).parse().map_err(|_| broken("name"))?;
    let uid = SpaceUid(found.uid.parse().map_err(|_| broken("uid"))?);
    let own = found.cluster.map(|cluster| cluster.namespace).filter(|namespace| !namespace.is_empty());
    let namespace = own.unwrap_or_else(|| format!("{}{name}", args.namespace_prefix));
    let list = furniture(&Space { uid, name: &name, namespace: &namespace }, &args.terms()).list();
    let text = serde_yaml_ng::to_string(&list).map_err(|_| broken("manifest"))?;
    context.screen().print(text.trim_end())
}
