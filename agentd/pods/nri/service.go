package nri

import (
	"context"

	"github.com/containerd/nri/pkg/api"
)

// service answers the runtime. It changes no container and refuses none: every
// answer is empty.
type service struct{ p *Plugin }

// Configure asks for what happens right before the first instruction, and no
// more.
func (s service) Configure(_ context.Context, ask *api.ConfigureRequest) (*api.ConfigureResponse, error) {
	s.p.mu.Lock()
	s.p.runtime, s.p.problem = ask.RuntimeName+" "+ask.RuntimeVersion, ""
	s.p.mu.Unlock()
	var events api.EventMask
	events.Set(api.Event_RUN_POD_SANDBOX, api.Event_START_CONTAINER)
	return &api.ConfigureResponse{Events: int32(events)}, nil
}

// Synchronize is told of what runs already, which pods.Node knows.
func (service) Synchronize(_ context.Context, ask *api.SynchronizeRequest) (*api.SynchronizeResponse, error) {
	return &api.SynchronizeResponse{More: ask.More}, nil
}

// StateChange is told of what happens, and the runtime waits for it.
func (s service) StateChange(ctx context.Context, e *api.StateChangeEvent) (*api.Empty, error) {
	switch e.Event {
	case api.Event_RUN_POD_SANDBOX:
		s.p.tell(ctx, e.Pod, nil)
	case api.Event_START_CONTAINER:
		s.p.tell(ctx, e.Pod, e.Container)
	}
	return &api.Empty{}, nil
}

func (service) Shutdown(context.Context, *api.Empty) (*api.Empty, error) {
	return &api.Empty{}, nil
}

func (service) CreateContainer(context.Context, *api.CreateContainerRequest) (*api.CreateContainerResponse, error) {
	return &api.CreateContainerResponse{}, nil
}

func (service) UpdateContainer(context.Context, *api.UpdateContainerRequest) (*api.UpdateContainerResponse, error) {
	return &api.UpdateContainerResponse{}, nil
}

func (service) StopContainer(context.Context, *api.StopContainerRequest) (*api.StopContainerResponse, error) {
	return &api.StopContainerResponse{}, nil
}

func (service) UpdatePodSandbox(context.Context, *api.UpdatePodSandboxRequest) (*api.UpdatePodSandboxResponse, error) {
	return &api.UpdatePodSandboxResponse{}, nil
}

func (service) ValidateContainerAdjustment(context.Context, *api.ValidateContainerAdjustmentRequest) (*api.ValidateContainerAdjustmentResponse, error) {
	return &api.ValidateContainerAdjustmentResponse{}, nil
}
