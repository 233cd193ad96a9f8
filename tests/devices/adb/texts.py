"""What phones print, shortened: the formats of Android 8 … 15."""

DEVICES = """\
* daemon not running; starting now at tcp:5037
* daemon started successfully
List of devices attached
0A281JEC200123         device usb:1-4 product:shiba model:Pixel_8 device:shiba transport_id:3
R58M123ABC             unauthorized usb:1-2 transport_id:4
192.168.1.7:40001      offline product:x model:y device:z transport_id:9
????????????           no permissions (user in plugdev group; are your udev rules wrong?); see \
[http://developer.android.com/tools/device.html] usb:1-1 transport_id:5
adb-9B1-x (2)._adb-tls-connect._tcp device product:a model:b device:c transport_id:11
[fe80::1%wlan0]:5555   device product:a model:b device:c transport_id:12
emulator-5554          device product:sdk_gphone64 model:sdk_gphone64 device:emu64x transport_id:13

"""

PROPERTIES = """\
[dalvik.vm.heapsize]: [512m]
[persist.notes]: [first
second]
[ro.build.version.release]: [14]
[ro.build.version.sdk]: [34]
[ro.product.cpu.abilist]: [arm64-v8a,armeabi-v7a,armeabi]
[ro.product.model]: [Pixel $(reboot) `x`; 8]
[ro.soc.model]: [Tensor G3]
"""

BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  status: 2
  health: 2
  present: true
  level: 85
  scale: 100
  voltage: 4200
  temperature: 291
  technology: Li-ion
"""

THERMAL = """\
IsStatusOverride: false
ThermalEventListeners:
	callbacks: 2
Thermal Status: 3
Cached temperatures:
	Temperature{mValue=41.5, mType=3, mName=skin, mStatus=1}
HAL Ready: true
"""

MEMORY = """\
MemTotal:        7820108 kB
MemFree:          402312 kB
"""

FREQUENCIES = """\
0 1704000
1 1704000
10 2914000
2 1704000
3 1704000
4 2367000
5 2367000
"""
