// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.hardware.display;

import android.os.Handler;

public final class DisplayManager {
    public interface DisplayListener {
        void onDisplayAdded(int displayId);

        void onDisplayRemoved(int displayId);

        void onDisplayChanged(int displayId);
    }

    public native void registerDisplayListener(DisplayListener listener, Handler handler);

    public native void unregisterDisplayListener(DisplayListener listener);
}
