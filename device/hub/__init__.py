"""The local IoT Hub: what an Azure IoT Hub is to Everbeat, on one loopback address, for machines without Azure.

Three endpoints of one process share a device registry (SQLite) and an event log (memory, bounded):

========  =====  =====================================================================  ====================
endpoint  port   who speaks to it, unmodified                                           what proves the peer
========  =====  =====================================================================  ====================
MQTT      8883   ``azure-iot-device`` 2.14 (telemetry, twin, methods)                   client certificate
AMQP      5671   ``azure-eventhub`` 5.15.1 (consumers of the event endpoint)            SAS by $cbs
HTTPS     8443   ``azure-iot-hub`` 2.7.0 (devices, twins, methods)                      SAS in each request
========  =====  =====================================================================  ====================

How each SDK finds the hub and checks its certificate against the CA of this installation (`host` is an address of
127.0.0.0/8 that the certificate's SAN names; nothing here is a patch, all are public options):

* ``azure-iot-device``: ``IoTHubDeviceClient.create_from_x509_certificate(x509=X509(cert_file, key_file),
  hostname=host, device_id=id, server_verification_cert=<text of ca.pem>)``. Port 8883 and TLS 1.2 are fixed in the
  SDK, so hubs side by side take different addresses. For Azure: ``hostname="<hub>.azure-devices.net"`` and no
  ``server_verification_cert``.
* ``azure-eventhub``: ``EventHubConsumerClient.from_connection_string("Endpoint=sb://<host>/;SharedAccessKeyName=...;
  SharedAccessKey=...;EntityPath=<eventhub>", consumer_group="$Default", connection_verify="<path of ca.pem>")``.
  For another port than 5671 add ``custom_endpoint_address="sb://<host>:<port>"`` *and*
  ``transport_type=TransportType.Amqp`` (an address alone means WebSockets, which the hub does not speak);
  ``UseDevelopmentEmulator=true`` would switch TLS off, which the hub refuses.
* ``azure-iot-hub``: ``IoTHubRegistryManager.from_connection_string("HostName=<host>:8443;SharedAccessKeyName=...;
  SharedAccessKey=...")``, then ``manager.protocol.config.connection.verify = "<path of ca.pem>"`` before the first
  call (msrest's documented setting; REQUESTS_CA_BUNDLE does the same for a whole process). The port may stand in
  HostName; the SDK signs its tokens with it.

A policy's key is base64 text, the same for both: REST signs with the decoded bytes, Event Hubs with the text itself.

What the SDKs do that is easy to miss, here and on Azure alike:

* The device SDK subscribes once in its life. The hub keeps the subscriptions of a session that is not clean, also over
  its own restart. It learns what was desired while it was away only if ``get_twin`` was called once before, and it
  does not read the twin on the first connect by itself.
* Sends of the device SDK that run at once are not kept in order; await each where order matters.
* The consumer looks for its partitions again every ``load_balancing_interval`` (30 s) after an error, and its task
  ends only after that long: make it short, and cancel the task after ``close()``. A link that is refused it tries again
  for ever without calling ``on_error``. Its loop polls every 50 ms: the hub forwards in 1 ms, the SDK delivers in 25
  to 100.

What is absent: device SAS keys, cloud-to-device mail, file upload, modules, jobs, queries, routes, WebSockets,
throttling by tier, and an event log on disk: a device keeps what has no receipt, and sends it again to a hub that was
killed.
"""
