//! A launch, as an executor takes it apart.

use taskplane_domain::env::{Env, TaskEnv};
use taskplane_domain::name::TaskName;
use taskplane_domain::run::{InCluster, NamingKey, RunKey, RunSpec, StartToken};
use taskplane_domain::task::TaskSpec;
use taskplane_domain::uid::{AppUid, JobUid, SpaceUid};

use crate::convert::spec::BadSpec;
use crate::internal::v1 as pb;

pub fn launch_from_pb(key: RunKey, launch: pb::Launch) -> Result<RunSpec, BadSpec> {
    let pb::Launch {
        space,
        space_uid,
        app,
        app_uid,
        task_id,
        display_name,
        app_revision,
        source,
        spec,
        space_env,
        app_env,
        log_cap_bytes,
        traceparent,
        security_groups,
        services,
        job,
        job_uid,
        namespace,
        placement,
        naming_key,
        start_token,
    } = launch;
    let job = if job.is_empty() {
        None
    } else {
        let uid = JobUid(job_uid.parse().map_err(|_| BadSpec("job_uid"))?);
        Some((uid, job.parse().map_err(|_| BadSpec("job"))?))
    };
    let name = TaskName {
        space: space.parse().map_err(|_| BadSpec("space"))?,
        app: app.parse().map_err(|_| BadSpec("app"))?,
        id: task_id,
    };
    let TaskSpec { command, env, resources, timeout, retry: _, labels: _ } = spec.ok_or(BadSpec("spec"))?.try_into()?;
    let TaskEnv::Open(task_env) = env else { return Err(BadSpec("spec.env")) };
    Ok(RunSpec {
        key,
        name,
        space_uid: SpaceUid(space_uid.parse().map_err(|_| BadSpec("space_uid"))?),
        app_uid: AppUid(app_uid.parse().map_err(|_| BadSpec("app_uid"))?),
        app_revision,
        display_name,
        source: source.ok_or(BadSpec("source"))?.try_into()?,
        command,
        inherited_env: Env::try_from(space_env.unwrap_or_default())?.overlaid(&app_env.unwrap_or_default().try_into()?),
        task_env,
        services: services.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        resources,
        security_groups: security_groups.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        timeout,
        log_cap: Some(log_cap_bytes).filter(|bytes| *bytes > 0),
        start_token: Some(StartToken(start_token)).filter(|token| !token.0.is_empty()),
        trace: Some(traceparent).filter(|text| !text.is_empty()),
        cluster: InCluster {
            namespace: Some(namespace).filter(|name| !name.is_empty()),
            job,
            placement: placement.unwrap_or_default().try_into()?,
            naming_key: NamingKey(naming_key.to_vec()),
        },
    })
}
