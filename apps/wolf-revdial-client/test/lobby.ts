/** A lobby as the control plane asks for one, with the session it is for. */
export const sessionId = "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV";

export const lobby = {
  profile_id: "user",
  name: sessionId,
  multi_user: true,
  stop_when_everyone_leaves: false,
  video_settings: {
    width: 640,
    height: 480,
    refresh_rate: 60,
    wayland_render_node: "software",
    runner_render_node: "software",
    video_producer_buffer_caps: "video/x-raw",
  },
  audio_settings: { channel_count: 2 as const },
  runner_state_folder: `wolfpack/${sessionId}`,
  runner: {
    type: "docker" as const,
    name: "desk",
    image: "xfce",
    mounts: [],
    env: [`WOLFPACK_SESSION_ID=${sessionId}`],
    devices: [],
    ports: [],
  },
};
