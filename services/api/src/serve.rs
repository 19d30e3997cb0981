//! The api as a running service: its listeners, its services on them, its workers.

use taskplane_logs::Objects;
use taskplane_platform::Platform;
use taskplane_proto::PUBLIC_DESCRIPTORS;
use taskplane_proto::internal::v1::executor_control_server::ExecutorControlServer;
use taskplane_proto::token::Keyring;
use taskplane_proto::v1::app_service_server::AppServiceServer;
use taskplane_proto::v1::event_service_server::EventServiceServer;
use taskplane_proto::v1::job_service_server::JobServiceServer;
use taskplane_proto::v1::retention_service_server::RetentionServiceServer;
use taskplane_proto::v1::security_group_service_server::SecurityGroupServiceServer;
use taskplane_proto::v1::service_instance_service_server::ServiceInstanceServiceServer;
use taskplane_proto::v1::space_service_server::SpaceServiceServer;
use taskplane_proto::v1::task_service_server::TaskServiceServer;
use taskplane_runtime::health;
use taskplane_runtime::net::{Incoming, only};
use taskplane_runtime::server::{self, MESSAGE_IN, MESSAGE_OUT};
use taskplane_runtime::tls::Role;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;

use crate::Api;
use crate::args::ApiArgs;
use crate::beat;
use crate::live::LogRoutes;

/// These take as long as their callers like.
const UNHURRIED: &[&str] = &[
    "/taskplane.v1.AppService/PushApp",
    "/taskplane.v1.TaskService/WatchTasks",
    "/taskplane.v1.TaskService/StreamLogs",
    "/taskplane.v1.EventService/WatchEvents",
    "/taskplane.internal.v1.ExecutorControl/AcquireWork",
];

/// Where the api is reached.
pub struct Listeners {
    pub public: Incoming,
    /// For executors alone.
    pub internal: Incoming,
}

/// Runs the api until the process is asked to stop, and through the drain.
pub async fn run(
    platform: Platform,
    objects: Objects,
    keys: Keyring,
    routes: LogRoutes,
    listeners: Listeners,
    args: ApiArgs,
) -> anyhow::Result<()> {
    let lifecycle = platform.lifecycle.clone();
    lifecycle.spawn("beat", beat::beat(platform.store.clone(), lifecycle.clone()));
    let api = Api::new(platform, objects, keys, routes, args);
    let (health, health_service) = tonic_health::server::health_reporter();

    let Listeners { public, internal } = listeners;
    let public_routes = public_routes(&api)?.add_service(health_service);
    let control = ExecutorControlServer::new(api.clone())
        .max_decoding_message_size(MESSAGE_OUT)
        .max_encoding_message_size(MESSAGE_OUT);
    let internal_routes = Routes::new(InterceptedService::new(control, only(Role::Executor)));

    // Health turns first. Then there is time to notice; then no more calls are taken, and those at hand are finished.
    let (notice, door) = (api.args.notice, lifecycle.apart());
    let leaving = async {
        lifecycle.soft().cancelled().await;
        tokio::select! {
            () = tokio::time::sleep(notice) => {}
            () = lifecycle.hard().cancelled() => {}
        }
        door.soft().cancel();
        Ok(())
    };
    let healthy = async {
        health::report::<TaskServiceServer<Api>>(health, &lifecycle, &door).await;
        Ok(())
    };
    let serving = async {
        tokio::select! {
            served = server::serve(public_routes, public, UNHURRIED, &door) => served,
            () = lifecycle.hard().cancelled() => Ok(()),
        }
    };
    tokio::try_join!(serving, server::serve(internal_routes, internal, UNHURRIED, &lifecycle), leaving, healthy,)?;
    Ok(())
}

fn public_routes(api: &Api) -> anyhow::Result<Routes> {
    macro_rules! bounded {
        ($server:ident) => {
            $server::new(api.clone())
                .max_decoding_message_size(MESSAGE_IN)
                .max_encoding_message_size(MESSAGE_OUT)
                .accept_compressed(CompressionEncoding::Gzip)
                .send_compressed(CompressionEncoding::Gzip)
        };
    }
    let mut routes = Routes::new(bounded!(SpaceServiceServer))
        .add_service(bounded!(AppServiceServer))
        .add_service(bounded!(TaskServiceServer))
        .add_service(bounded!(JobServiceServer))
        .add_service(bounded!(RetentionServiceServer))
        .add_service(bounded!(SecurityGroupServiceServer))
        .add_service(bounded!(ServiceInstanceServiceServer))
        .add_service(bounded!(EventServiceServer));
    if !api.args.no_reflection {
        // grpcurl and others ask in either version.
        let builder = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(PUBLIC_DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        };
        routes = routes.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?);
    }
    Ok(routes)
}
